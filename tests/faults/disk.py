"""A file system in memory under one folder, whose size can be taken away and given back while it is used."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from schemas.errors import Unavailable

__all__ = ["Disk"]

SIZE_MB: Final = 8_192
"""A limit, not a claim: memory is taken only for what is written."""
MARGIN_KB: Final = 64
COMMAND_TIMEOUT_S: Final = 10.0


class Disk:
    """`with Disk(folder) as disk:` — mounted if this process may mount; else the folder stays as it is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.available = False

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.available = os.geteuid() == 0 and self._mount("-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.available:
            self.available = False
            subprocess.run(["umount", "-l", str(self._folder)], check=False, timeout=COMMAND_TIMEOUT_S)

    @property
    def free_bytes(self) -> int:
        state = os.statvfs(self._folder)
        return state.f_bavail * state.f_frsize

    def fill(self) -> None:
        """Leave (nearly) no room: the size becomes what is used. Raises `Unavailable`."""
        state = os.statvfs(self._folder)
        used_kb = (state.f_blocks - state.f_bfree) * state.f_frsize // 1024
        self._resize(f"{used_kb + MARGIN_KB}k")

    def empty(self) -> None:
        """Give the room back. Raises `Unavailable`."""
        self._resize(f"{SIZE_MB}m")

    def _resize(self, size: str) -> None:
        if not self._mount("-o", f"remount,size={size}"):
            raise Unavailable(f"the file system under {self._folder} cannot be made {size} large")

    def _mount(self, *arguments: str) -> bool:
        command = ["mount", *arguments, str(self._folder)]
        done = subprocess.run(command, check=False, capture_output=True, timeout=COMMAND_TIMEOUT_S)
        return done.returncode == 0
