"""What a person sees while things start: a spinner per step, then a line with the time it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from schemas.errors import ImError

__all__ = ["Steps", "silent_steps"]

TITLE_WIDTH: Final = 34
DETAIL_WIDTH: Final = 42


class Steps:
    """Steps that may run at the same time; each ends as one line, in the order in which they end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._spinners = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._spinners.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spinners.stop()

    @contextmanager
    def step(self, title: str, detail: str = "") -> Iterator[None]:
        """Show a step while its block runs, then ✔ and the time it took, or ✘ if it raises an `ImError`."""
        started_at = time.monotonic()
        spinner = self._spinners.add_task(title, total=None)
        try:
            yield
        except ImError:
            self._line("✘", "red", title, detail, started_at)
            raise
        else:
            self._line("✔", "green", title, detail, started_at)
        finally:
            self._spinners.remove_task(spinner)

    def note(self, text: str) -> None:
        """Say something that is no step."""
        self._console.print(f" · {text}", markup=False, highlight=False, soft_wrap=True)

    def _line(self, mark: str, colour: str, title: str, detail: str, started_at: float) -> None:
        self._console.print(f" {mark}", style=colour, end="", highlight=False)
        self._console.print(
            f" {title:<{TITLE_WIDTH}} {detail:<{DETAIL_WIDTH}} {time.monotonic() - started_at:6.1f} s",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def silent_steps() -> Steps:
    """Steps that nobody sees (tests)."""
    return Steps(Console(file=StringIO()))
