"""How far a replay is: one small file next to its plan, replaced whole after each step.

Where it goes on and what it has counted stand in the same file, so a replay that is killed goes on
with counts that are exact: the step that was under way is done again, and counted once.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from pipeline.ops.replay.plan import Plan, save
from schemas.errors import BadInput

__all__ = ["Progress", "exclusive", "load_progress", "progress_path", "save_progress"]

_KEPT_FAILURES = 20


class Progress(msgspec.Struct):
    """What was done. Counts are of records, except `effects`."""

    state: Literal["running", "paused", "done"] = "running"
    next: dict[int, int] = {}
    """Partition → the first offset that is not done."""
    read: int = 0
    selected: int = 0
    effects: int = 0
    """Rows written, messages indexed, or lines exported."""
    failed: int = 0
    first_failures: list[str] = []
    """topic[partition]@offset: why, of the first ones."""
    file_bytes: dict[int, int] = {}
    """Partition → length of its export file: what lies beyond was not counted."""
    seconds: float = 0.0
    """Spent, over all runs."""

    def fail(self, place: str, why: str) -> None:
        self.failed += 1
        if len(self.first_failures) < _KEPT_FAILURES:
            self.first_failures.append(f"{place}: {why}")

    def left(self, plan: Plan) -> int:
        """Records of the plan that are not read yet."""
        return sum(max(0, r.end - max(r.start, self.next.get(r.partition, 0))) for r in plan.ranges)


def progress_path(plan_path: Path) -> Path:
    return plan_path.with_suffix(".progress")


def load_progress(plan_path: Path) -> Progress | None:
    """None: the plan was not begun."""
    try:
        return msgspec.json.decode(progress_path(plan_path).read_bytes(), type=Progress)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(f"cannot read {progress_path(plan_path)}: {error}") from error


def save_progress(plan_path: Path, progress: Progress) -> None:
    save(progress_path(plan_path), progress)


@contextmanager
def exclusive(plan_path: Path) -> Iterator[None]:
    """One process applies a plan at a time; the hold ends with the process, however it ends."""
    descriptor = os.open(plan_path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"{plan_path} is being applied by another process") from None
        yield
    finally:
        os.close(descriptor)
