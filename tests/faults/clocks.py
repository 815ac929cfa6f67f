"""Wall clocks of single processes that can be moved while these run, by libfaketime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["Clocks", "fake_clock_library"]

LIBRARY: Final = "faketime/libfaketimeMT.so.1"
FOLDERS: Final = (Path("/usr/lib"), Path("/usr/lib64"), Path("/usr/local/lib"))
NOTICED_S: Final = 1
"""How long a process may go on with the old offset."""


def fake_clock_library() -> Path | None:
    """libfaketime, if it is installed (`apt-get install libfaketime`)."""
    patterns = (LIBRARY, f"*/{LIBRARY}")
    return next((path for folder in FOLDERS for p in patterns for path in folder.glob(p)), None)


class Clocks:
    """One file per process, which the library reads again and again. Monotonic clocks go on undisturbed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library = fake_clock_library()

    @property
    def available(self) -> bool:
        return self._library is not None

    def environment(self, process: str) -> Mapping[str, str]:
        """The variables a process must be started with so that its clock can be moved."""
        if self._library is None:
            return {}
        self.set(process, 0)
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file(process)),
            "FAKETIME_CACHE_DURATION": str(NOTICED_S),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, process: str, offset_s: int) -> None:
        """Move it: seconds ahead of the machine's clock, or behind it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        new = self._folder / f"{process}.new"
        new.write_text(f"{offset_s:+d}\n")
        new.replace(self._file(process))

    def _file(self, process: str) -> Path:
        return self._folder / process
