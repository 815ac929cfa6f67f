"""How far each group was at which time, from the samples of offsets.jsonl: stalls (I10), and from when on
something was stored."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

from schemas.topics import MESSAGES
from tests.faults.checker.faults import Faults
from tests.faults.checker.findings import Findings
from tests.faults.checker.index import Placed
from tests.faults.checker.patience import Patience
from tests.faults.checker.source import Source
from tests.faults.dumps import Offset

__all__ = ["STALL_S", "Progress"]

STALL_S: Final = 30.0
"""How long after the last fault healed a group may take to reach what was the end then, on a machine of its
own."""
_PERSISTENCE: Final = "im.persistence"
Place = tuple[str, str, int]


class _Samples:
    def __init__(self) -> None:
        self.times: list[float] = []
        self.committed: list[int] = []
        """The highest offset committed so far: a rebalance may step back, what was done stays done."""
        self.ends: list[int] = []


class Progress:
    """The samples of every (group, topic, partition)."""

    def __init__(self, source: Source) -> None:
        self._places: dict[Place, _Samples] = {}
        for sample in sorted(source.lines("offsets", Offset), key=lambda sample: sample.t):
            samples = self._places.setdefault((sample.group, sample.topic, sample.partition), _Samples())
            highest = max(sample.committed, samples.committed[-1] if samples.committed else 0)
            samples.times.append(sample.t)
            samples.committed.append(highest)
            samples.ends.append(sample.end)

    def stored_t(self, message: Placed) -> float | None:
        """When at the latest the message was in Cassandra: the first sample that shows it. None: no idea."""
        samples = self._places.get((_PERSISTENCE, MESSAGES, message.partition))
        if samples is None:
            return None
        at = bisect_right(samples.committed, message.offset)
        return samples.times[at] if at < len(samples.times) else None

    def storing_after(self, healed_t: float) -> tuple[float | None, float | None]:
        """When the history first took something after this time, and when it had all that was in the log
        then, in every partition. None: no sample shows it."""
        places = [samples for (group, _, _), samples in self._places.items() if group == _PERSISTENCE]
        first: list[float] = []
        drained: list[float] = []
        for samples in places:
            healed = bisect_left(samples.times, healed_t)
            if healed == len(samples.times):
                return None, None
            before = samples.committed[max(healed - 1, 0)]
            first += _time_of(samples, bisect_right(samples.committed, before, healed))
            drained += _time_of(samples, bisect_left(samples.committed, samples.ends[healed]))
        all_drained = len(drained) == len(places)
        return min(first, default=None), max([healed_t, *drained]) if all_drained else None

    def check(self, faults: Faults, patience: Patience, findings: Findings) -> list[str]:
        """Report stalls; returns why the samples show less than they should."""
        enough = bool(self._places)
        healed_t = faults.last_healed_t
        for (group, topic, partition), samples in self._places.items():
            findings.looked_at("I10")
            where = {"group": group, "topic": topic, "partition": partition}
            if samples.committed[-1] < samples.ends[-1]:
                findings.add(
                    "I10", "never reached the end", **where, committed=samples.committed[-1],
                    end=samples.ends[-1], t=samples.times[-1],
                )  # fmt: skip
            if healed_t is not None:
                deadline_t = patience.after(healed_t, STALL_S)
                enough &= _check_recovery(samples, healed_t, deadline_t, where, findings)
        return [] if enough else ["the samples of offsets do not show the recovery"]


def _time_of(samples: _Samples, at: int) -> list[float]:
    return samples.times[at : at + 1]


def _check_recovery(
    samples: _Samples, healed_t: float, deadline_t: float, where: dict[str, object], findings: Findings
) -> bool:
    healed = bisect_left(samples.times, healed_t)
    if healed == len(samples.times):
        return False
    target = samples.ends[healed]
    reached = bisect_left(samples.committed, target)
    reached_t = samples.times[reached] if reached < len(samples.times) else None
    if reached_t is None or reached_t > deadline_t:
        findings.add(
            "I10", "stalled after the last fault", **where, healed_t=healed_t, end_then=target,
            reached_t=reached_t, deadline_t=deadline_t, committed=samples.committed[healed], t=healed_t,
        )  # fmt: skip
    return True
