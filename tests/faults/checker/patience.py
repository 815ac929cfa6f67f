"""How long a promise in seconds is on a machine that others use too. Pure.

"Within 30 s" is said of a machine that has time for us. Where a piece of work takes three times as long as
its processor time, because others have their turn in between, it means 90 s. What was measured beside the
run (`pace.jsonl`) says when that was so.
"""

from __future__ import annotations

from bisect import bisect_right
from math import isinf

from tests.faults.checker.source import Source
from tests.faults.dumps import Pace

__all__ = ["Patience"]


class Patience:
    """Turns seconds of a machine of one's own into times of the run; without measurements, they are that."""

    def __init__(self, source: Source) -> None:
        self._times: list[float] = []
        self._slowdowns: list[float] = []
        self._own: list[float] = []
        """Seconds of a machine of one's own up to each measurement."""
        for pace in source.lines("pace", Pace):
            self._own.append(self._own_at(pace.t) if self._times else 0.0)
            self._times.append(pace.t)
            self._slowdowns.append(pace.slowdown)

    def after(self, t: float, seconds: float) -> float:
        """The time by which something must have happened that may take this long from `t` on."""
        if isinf(t):
            return t
        due = self._own_at(t) + seconds
        at = bisect_right(self._own, due) - 1
        if at < 0:
            return due + self._begin
        return self._times[at] + (due - self._own[at]) * self._slowdowns[at]

    def slowdown(self, share: float) -> float:
        """The slowdown that this share of the measurements does not pass; 1 without any."""
        ascending = sorted(self._slowdowns)
        return ascending[min(int(share * len(ascending)), len(ascending) - 1)] if ascending else 1.0

    @property
    def _begin(self) -> float:
        return self._times[0] if self._times else 0.0

    def _own_at(self, t: float) -> float:
        at = bisect_right(self._times, t) - 1
        if at < 0:
            return t - self._begin
        return self._own[at] + (t - self._times[at]) / self._slowdowns[at]
