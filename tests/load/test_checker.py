"""How long the history checker takes over a million client events on disk: printed, not asserted.

Run with `pytest tests/load/test_checker.py -m load -s`. Making the history takes a few minutes.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path as FilePath

import pytest

from tests.faults.checker.check import check
from tests.faults.folder import Folder
from tests.faults.specimen.path import Path
from tests.faults.specimen.story import Story

pytestmark = [pytest.mark.load, pytest.mark.timeout(1_800)]

EVENTS = 1_000_000


class Talk(Story):
    """Mostly talking: no reader looks through a whole history, which would grow with its square."""

    def __init__(self, path: Path, events: int) -> None:
        super().__init__(path, steps=events)
        self.events = events
        calm = (self.lose_routes, self.look_back, self.block_or_unblock, self.remove_or_leave)
        self.deeds = [(weight, deed) for weight, deed in self.deeds if deed not in calm]

    def nemesis(self, step: int) -> None:
        super().nemesis(step)
        if len(self.path.history.events) >= self.events:
            self.steps = step


def test_a_million_events(tmp_path: FilePath) -> None:
    """The report on a long clean run is right, and comes in the time that the goal allows."""
    folder = Folder(tmp_path)
    story = Talk(Path(seed=1), EVENTS)
    story.tell().write_to(folder)
    began, began_cpu = time.perf_counter(), time.process_time()
    report = check(folder)
    took_s, took_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    counts = report.counts
    sys.stdout.write(
        f"\n{counts['events']:,} events, {counts['messages']:,} messages, "
        f"{counts['deliveries']:,} deliveries: "
        f"{took_s:.1f} s, {took_cpu_s:.1f} s of them processor (goal: 60 s)\n"
    )
    assert report.verdict == "valid", report.unknown
    assert counts["events"] >= EVENTS
