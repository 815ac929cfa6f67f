"""How much slower the machine is than one that had nothing else to do: a process of its own that measures.

`python -m tests.faults.yardstick FOLDER` does a small fixed piece of work twice a second and writes down how
many times as long it took as its processor time: the rest went to somebody else.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from infra.stack.process import ChildProcess, ChildSpec
from tests.faults.dumps import Pace
from tests.faults.folder import Folder, Lines

__all__ = ["Yardstick", "measure"]

WORK_S: Final = 0.02
"""Of processor time: several slices of the scheduler, so that others have their turn in between."""
EVERY_S: Final = 0.5


def measure() -> float:
    """Wall time over processor time of a piece of work; at least 1."""
    began, worked = time.monotonic(), time.thread_time()
    while time.thread_time() - worked < WORK_S:
        pass
    return max(1.0, (time.monotonic() - began) / (time.thread_time() - worked))


class Yardstick:
    """`async with Yardstick(folder, log):` — measures into the folder of a run, until the end."""

    def __init__(self, folder: Folder, log: Path) -> None:
        self._process = ChildProcess(
            ChildSpec(
                name="yardstick",
                argv=(sys.executable, "-m", "tests.faults.yardstick", str(folder.path)),
                log=log,
                ready=folder.has_pace,
            )
        )

    async def __aenter__(self) -> Self:
        await self._process.start_ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._process.stop()


def _write(lines: Lines) -> None:
    while True:
        lines.write(Pace(t=time.monotonic(), slowdown=measure()))
        time.sleep(EVERY_S)


if __name__ == "__main__":
    with Folder(Path(sys.argv[1])).pace() as lines:
        _write(lines)
