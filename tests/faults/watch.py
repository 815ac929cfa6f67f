"""A run from its order to its summary, and what a person sees meanwhile."""

from __future__ import annotations

import shutil
import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from infra.settings import Settings
from tests.faults.checker.check import check
from tests.faults.folder import Folder
from tests.faults.report import Summary, summarise
from tests.faults.run import Order, Watcher, carry_out

__all__ = ["Bar", "Silent", "make_and_judge"]

FAULT_WIDTH: Final = 44


class Silent:
    """For tests: nobody watches."""

    def phase(self, name: str) -> None: ...

    def fault(self, text: str) -> None: ...


class Bar:
    """`with Bar(console, minutes) as bar:` — the phase, how much of the load is over, the present fault."""

    def __init__(self, console: Console, minutes: float) -> None:
        self._load_s = 60 * minutes
        self._load_began: float | None = None
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[fault]}", markup=False),
            console=console,
        )
        self._task = self._progress.add_task("starting", total=self._load_s, fault="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def phase(self, name: str) -> None:
        if name == "load":
            self._load_began = time.monotonic()
        self._progress.update(self._task, description=name, fault="")

    def fault(self, text: str) -> None:
        done = time.monotonic() - self._load_began if self._load_began is not None else 0.0
        self._progress.update(self._task, completed=min(done, self._load_s), fault=text[:FAULT_WIDTH])


async def make_and_judge(order: Order, base: Settings, watcher: Watcher, minimum_ok: int) -> Summary:
    """Make the run, check its history, forget the engines' data."""
    outcome = await carry_out(order, base, watcher)
    shutil.rmtree(order.folder / "data" / "kafka", ignore_errors=True)
    shutil.rmtree(order.folder / "data" / "cassandra", ignore_errors=True)
    watcher.phase("checking")
    folder = Folder(order.folder)
    return summarise(folder.run(), check(folder, minimum_ok), outcome)
