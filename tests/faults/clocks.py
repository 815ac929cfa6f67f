"""Wall clocks of single Python processes, which can be moved while these run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["Clocks"]

PATCH: Final = Path(__file__).parent / "moved_clock"
"""Its `sitecustomize.py` is imported by every Python that has this folder on its path."""
FILE_VARIABLE: Final = "CHAOS_CLOCK_FILE"


class Clocks:
    """One file per process, which that process reads again and again. Monotonic clocks go on undisturbed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def environment(self, process: str) -> Mapping[str, str]:
        """The variables a process must be started with so that its clock can be moved."""
        self.set(process, 0)
        paths = [str(PATCH), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"PYTHONPATH": os.pathsep.join(paths), FILE_VARIABLE: str(self._file(process))}

    def set(self, process: str, offset_s: int) -> None:
        """Move it: seconds ahead of the machine's clock, or behind it. Noticed within half a second."""
        self._folder.mkdir(parents=True, exist_ok=True)
        new = self._folder / f"{process}.new"
        new.write_text(f"{offset_s:+d}\n")
        new.replace(self._file(process))

    def _file(self, process: str) -> Path:
        return self._folder / process
