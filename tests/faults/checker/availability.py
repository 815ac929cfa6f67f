"""Pass (g): how the service felt while faults were at work: silences, recovery, latencies, answers."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

from msgspec import Struct

from tests.faults.checker.faults import Fault, Faults
from tests.faults.checker.index import Index
from tests.faults.checker.outcomes import Outcomes
from tests.faults.checker.views import Sights

__all__ = ["Availability", "Window", "measure"]

_OUTAGE_S: Final = 1.0
"""A silence that lasts longer, while sends wait, is an outage."""
_AFTER_S: Final = 30.0
"""How long after the healing a silence that begins still belongs to the fault, if no other begins before."""
_DEFINITE_S: Final = 30.0


class Window(Struct, frozen=True, kw_only=True):
    """One stretch of time. Latencies are of sends first made in it; None: there were none.

    `longest_gap_s`: the longest time without any `accepted` though a send was waiting. `unavailable_s`: the
    sum of such silences above 1 s. `rto_s`: from the fault's beginning to the end of the last of them, over
    partitions (by `sent` or a refusal of what that partition was sent); 0.0: none.
    """

    fault: str
    kind: str
    target: str
    began_t: float
    healed_t: float
    took_hold: bool
    sends: int
    answered: int
    """Sends with an accepted, sent or rejected within 30 s."""
    unanswered: int
    """Sends without any of these until the end of the run."""
    available: float
    """The share of the time that was no outage."""
    longest_gap_s: float
    unavailable_s: float
    rto_s: float
    accepted_p50_ms: float | None
    accepted_p99_ms: float | None
    deliver_p50_ms: float | None
    deliver_p99_ms: float | None


class Availability(Struct, frozen=True, kw_only=True):
    """The whole run, and each fault."""

    overall: Window
    faults: list[Window]


class _Line:
    """Sends and their answers on one time line: of the whole service, or of one partition."""

    def __init__(self) -> None:
        self.sends = array("d")
        self.answers = array("d")

    def sort(self) -> None:
        self.sends = array("d", sorted(self.sends))
        self.answers = array("d", sorted(self.answers))

    def silences(self, begin_t: float, end_t: float) -> list[tuple[float, float]]:
        """Stretches from `begin_t` on without an answer while sends waited, that begin before `end_t`."""
        found: list[tuple[float, float]] = []
        at = max(bisect_left(self.answers, begin_t) - 1, -1)
        while at < len(self.answers) - 1:
            since = self.answers[at] if at >= 0 else float("-inf")
            until = self.answers[at + 1]
            start = max(self._waits_since(since, at + 1), begin_t)
            if start >= end_t:
                break
            if until > start:
                found.append((start, until))
            at += 1
        return found

    def _waits_since(self, since: float, answered: int) -> float:
        """From when on a send waited, after the answer at `since`, the `answered`-th."""
        made = bisect_right(self.sends, since)
        if made > answered or made == len(self.sends):
            return since
        return self.sends[made]


class _Latencies:
    """Latencies by the time of their send."""

    def __init__(self, pairs: list[tuple[float, float]]) -> None:
        pairs.sort()
        self._times = array("d", (t for t, _ in pairs))
        self._values = array("d", (value for _, value in pairs))

    def between(self, begin_t: float, end_t: float) -> Sequence[float]:
        values = self._values[bisect_left(self._times, begin_t) : bisect_right(self._times, end_t)]
        return sorted(values)


def measure(
    outcomes: Outcomes, index: Index, sights: Sights, faults: Faults, began_t: float, ended_t: float
) -> Availability:
    """Everything about time that the logs of the clients tell."""
    whole = _Line()
    partitions: dict[int, _Line] = {}
    accepted: list[tuple[float, float]] = []
    definite: list[tuple[float, float]] = []
    for outcome in outcomes:
        whole.sends.append(outcome.first_t)
        placed = index.mids.get(outcome.mid)
        line = partitions.setdefault(placed.partition, _Line()) if placed is not None else None
        if outcome.accepted_t:
            whole.answers.append(outcome.accepted_t)
            accepted.append((outcome.first_t, outcome.accepted_t - outcome.first_t))
        definite.append((outcome.first_t, (outcome.answered_t or float("inf")) - outcome.first_t))
        if line is not None and outcome.settled_t:
            line.sends.append(outcome.first_t)
            line.answers.append(outcome.settled_t)
    for line in (whole, *partitions.values()):
        line.sort()
    parts = (_Latencies(accepted), _Latencies(definite), _deliveries(outcomes, index, sights))
    run = Fault(name="", kind="whole run", target="", began_t=began_t, healed_t=ended_t, evidence="-")
    return Availability(
        overall=_window(run, 0.0, whole, {}, parts),
        faults=[
            _window(fault, _after_s(fault, later), whole, partitions, parts)
            for fault, later in zip_longest(faults.all, faults.all[1:])
        ],
    )


def _after_s(fault: Fault, later: Fault | None) -> float:
    """What begins after the next fault did is no matter of this one."""
    return _AFTER_S if later is None else max(0.0, min(_AFTER_S, later.began_t - fault.healed_t))


def _deliveries(outcomes: Outcomes, index: Index, sights: Sights) -> _Latencies:
    sent_t = array("d", bytes(8 * index.count))
    for outcome in outcomes:
        placed = index.mids.get(outcome.mid)
        if placed is not None:
            sent_t[placed.number] = outcome.first_t
    pairs = (
        (sent_t[number], t - sent_t[number]) for number, t in zip(sights.numbers, sights.times, strict=True)
    )
    return _Latencies([(t, latency) for t, latency in pairs if t])


def _window(
    fault: Fault,
    after_s: float,
    whole: _Line,
    partitions: dict[int, _Line],
    parts: tuple[_Latencies, _Latencies, _Latencies],
) -> Window:
    begin_t, end_t = fault.began_t, fault.healed_t
    silences = whole.silences(begin_t, end_t + after_s)
    outages = [(since, until) for since, until in silences if until - since > _OUTAGE_S]
    in_partitions = [
        until - begin_t
        for line in partitions.values()
        for since, until in line.silences(begin_t, end_t + after_s)
        if until - since > _OUTAGE_S
    ]
    accepted, definite, delivered = (part.between(begin_t, end_t) for part in parts)
    return Window(
        fault=fault.name,
        kind=fault.kind,
        target=fault.target,
        began_t=begin_t,
        healed_t=end_t,
        took_hold=bool(fault.evidence),
        sends=len(definite),
        answered=bisect_right(definite, _DEFINITE_S),
        unanswered=len(definite) - bisect_left(definite, float("inf")),
        available=round(_share(end_t - begin_t, sum(_within(outages, end_t))), 6),
        longest_gap_s=round(max((until - since for since, until in silences), default=0.0), 3),
        unavailable_s=round(sum(until - since for since, until in outages), 3),
        rto_s=round(max(in_partitions, default=0.0), 3),
        accepted_p50_ms=_percentile_ms(accepted, 0.5),
        accepted_p99_ms=_percentile_ms(accepted, 0.99),
        deliver_p50_ms=_percentile_ms(delivered, 0.5),
        deliver_p99_ms=_percentile_ms(delivered, 0.99),
    )


def _within(outages: Sequence[tuple[float, float]], end_t: float) -> list[float]:
    """How long each of them was before `end_t`."""
    return [max(0.0, min(until, end_t) - since) for since, until in outages]


def _share(whole_s: float, away_s: float) -> float:
    return 1 - away_s / whole_s if whole_s > 0 else 1.0


def _percentile_ms(ascending: Sequence[float], share: float) -> float | None:
    if not ascending:
        return None
    return round(1000 * ascending[min(int(share * len(ascending)), len(ascending) - 1)], 1)
