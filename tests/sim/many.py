"""Many seeds over some processes: a line of progress, failing seeds as commands, and what was covered."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Final, TextIO

from tests.sim.faults import expected_coverage
from tests.sim.tracing import quiet_logs
from tests.sim.world import play

__all__ = ["Summary", "play_many", "report"]

_SLICE: Final = 10
_ENOUGH: Final = 2_000
"""From so many seeds on everything must have happened at least once."""
_SHOWN: Final = 20


@dataclass(slots=True)
class Summary:
    """What many seeds came to."""

    seeds: int = 0
    failed: dict[int, list[str]] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)
    simulated_s: float = 0.0
    messages: int = 0
    calls: int = 0
    took_s: float = 0.0
    cpu_s: float = 0.0
    """Processor time of the seeds themselves."""

    def add(self, other: Summary) -> None:
        self.seeds += other.seeds
        self.failed.update(other.failed)
        self.happened += other.happened
        self.simulated_s += other.simulated_s
        self.messages += other.messages
        self.calls += other.calls
        self.cpu_s += other.cpu_s

    def commands(self) -> list[str]:
        """What to type to see each failing seed again."""
        return [
            f"python -m tests.sim {seed} --trace   # {violations[0].splitlines()[0]}"
            for seed, violations in sorted(self.failed.items())
        ]

    def missing(self) -> list[str]:
        """What should have happened at least once, and did not."""
        return [what for what in expected_coverage() if not self.happened[what]]


def play_slice(first: int, count: int) -> Summary:
    """Run some seeds in this process."""
    summary, began = Summary(), time.process_time()
    for seed in range(first, first + count):
        outcome = play(seed)
        summary.seeds += 1
        summary.happened += outcome.happened
        summary.simulated_s += outcome.simulated_s
        summary.messages += outcome.messages
        summary.calls += outcome.calls
        if outcome.violations:
            summary.failed[seed] = outcome.violations
    summary.cpu_s = time.process_time() - began
    return summary


def play_many(first: int, count: int, processes: int, progress: TextIO) -> Summary:
    """Run seeds in slices side by side."""
    summary, began = Summary(), time.monotonic()
    with ProcessPoolExecutor(processes, get_context("spawn"), _prepare) as pool:
        slices = [pool.submit(play_slice, *each) for each in _slices(first, count)]
        for done in as_completed(slices):
            part = done.result()
            progress.writelines(f"\r{line}\n" for line in part.commands())
            summary.add(part)
            summary.took_s = time.monotonic() - began
            if progress.isatty():
                progress.write(f"\r{_line(summary)}  ")
            progress.flush()
    progress.write("\n")
    return summary


def report(summary: Summary) -> int:
    """Print what came of it. The exit code: 1 if a seed failed, or if something never happened."""
    for line in summary.commands()[:_SHOWN]:
        sys.stdout.write(f"{line}\n")
    if len(summary.failed) > _SHOWN:
        sys.stdout.write(f"… and {len(summary.failed) - _SHOWN} more\n")
    never = summary.missing() if summary.seeds >= _ENOUGH else []
    if never:
        sys.stdout.write(f"never happened: {', '.join(never)}\n")
    sys.stdout.write(f"{_line(summary)}\n")
    return 1 if summary.failed or never else 0


def _line(summary: Summary) -> str:
    took_s = max(summary.took_s, 0.001)
    return (
        f"{summary.seeds} seeds, {len(summary.failed)} failed, {summary.seeds / took_s:.0f} seeds/s, "
        f"{1000 * summary.cpu_s / max(summary.seeds, 1):.0f} ms of processor each, "
        f"{summary.simulated_s / took_s:,.0f} × real time, {summary.messages:,} messages, "
        f"{sum(summary.happened.values()):,} faults"
    )


def _slices(first: int, count: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + count, _SLICE):
        yield start, min(_SLICE, first + count - start)


def _prepare() -> None:
    """Each process of the pool: no logs, and a collector that looks seldom."""
    os.nice(2)
    quiet_logs()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
