"""Pacing against a pipeline that carries less than is offered."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping

import pytest

from gateway.limits.pace import WINDOW_S, Pace
from gateway.limits.priority import Priority

STEP_S = 0.005


class Pipeline:
    """A queue that carries so much a second and answers in chunks, as the real one does."""

    def __init__(self, pace: Pace, chunk_s: float) -> None:
        self.pace = pace
        self.queue: deque[float] = deque()
        self.delays_ms: list[float] = []
        self.refused: Counter[Priority] = Counter()
        self.passed: Counter[Priority] = Counter()
        self._chunk_s = chunk_s
        self._room = 0.0
        self._answered_at = 0.0

    def offer(self, priority: Priority, now: float) -> None:
        if self.pace.take(priority, now):
            self.refused[priority] += 1
            return
        self.passed[priority] += 1
        self.queue.append(now)

    def carry(self, per_s: float, now: float) -> None:
        self._room += per_s * STEP_S
        if now - self._answered_at < self._chunk_s:
            return
        self._answered_at = now
        count = min(int(self._room), len(self.queue))
        self._room = self._room - count if count < len(self.queue) else 0.0
        for _ in range(count):
            self.delays_ms.append(1000 * (now - self.queue.popleft()))
            self.pace.ended(1, self.delays_ms[-1])


def run(
    offered: Mapping[Priority, float],
    carried: float,
    seconds: float,
    chunk_s: float = 0.05,
    until_s: float = 1e9,
) -> Pipeline:
    """Offer so much a second to a pipeline that carries so much a second; nothing after `until_s`."""
    pace = Pace(500.0, 0.0)
    pipeline = Pipeline(pace, chunk_s)
    owed = dict.fromkeys(offered, 0.0)
    for step in range(int(seconds / STEP_S)):
        now = step * STEP_S
        for priority, per_s in offered.items() if now < until_s else ():
            owed[priority] += per_s * STEP_S
            while owed[priority] >= 1:
                owed[priority] -= 1
                pipeline.offer(priority, now)
        pipeline.carry(carried, now)
        if step % round(WINDOW_S / STEP_S) == 0:
            pace.observe(now)
    return pipeline


def p99(delays_ms: list[float]) -> float:
    return sorted(delays_ms)[int(0.99 * len(delays_ms))]


@pytest.mark.parametrize("chunk_s", [0.0, 0.05, 0.15])
@pytest.mark.parametrize("carried", [200, 2_000])
def test_at_three_times_the_capacity_what_is_accepted_is_quick(carried: float, chunk_s: float) -> None:
    """p99 stays under two seconds, most of the capacity is used, and everything accepted comes out."""
    pipeline = run({Priority.DIRECT: 3 * carried}, carried, 35.0, chunk_s, until_s=30.0)
    assert p99(pipeline.delays_ms) < 2_000
    assert len(pipeline.delays_ms) == pipeline.passed.total() > 0.8 * 30 * carried
    assert pipeline.refused.total() > 0


def test_within_the_capacity_nothing_is_refused() -> None:
    """A queue that does not stand is no reason."""
    pipeline = run({Priority.DIRECT: 900}, 1_000, 10.0)
    assert pipeline.refused.total() == 0
    assert pipeline.pace.per_s is None


def test_the_least_important_waits_first() -> None:
    """Direct messages that the pipeline can carry pass, whatever else is offered."""
    pipeline = run({Priority.DIRECT: 300, Priority.GROUP: 1_000, Priority.BROADCAST: 1_000}, 1_000, 20.0)
    shares = {p: pipeline.passed[p] / (pipeline.passed[p] + pipeline.refused[p]) for p in pipeline.passed}
    assert shares[Priority.DIRECT] > 0.97
    assert shares[Priority.BROADCAST] < 0.2 < shares[Priority.GROUP]


def test_a_path_that_is_slow_without_a_queue_carries_a_little_always() -> None:
    """Twenty messages a second pass, though each takes a second whatever is refused."""
    pace = Pace(500.0, 0.0)
    for step in range(200):
        now = step * WINDOW_S
        assert [pace.take(Priority.DIRECT, now) for _ in range(2)] == [0, 0]
        pace.ended(2, 1_000.0)
        pace.observe(now)


def test_an_outage_is_no_overload() -> None:
    """While no answers come, everything goes on into the log."""
    pipeline = run({Priority.DIRECT: 500}, 0, 5.0)
    assert pipeline.refused.total() == 0


def test_a_log_that_does_not_take_what_waits_is_seen_without_answers() -> None:
    """What nobody keeps yet is refused rather than left waiting; soon after the log is back all may send."""
    pace = Pace(500.0, 0.0)
    for window in range(40):
        now = window * WINDOW_S
        refused = sum(pace.take(Priority.DIRECT, now) > 0 for _ in range(50))
        pace.observe(now, waiting_ms=1_000 * now)
    assert refused > 35
    for window in range(40, 120):
        now = window * WINDOW_S
        passed = sum(pace.take(Priority.DIRECT, now) == 0 for _ in range(50))
        pace.ended(passed, 20.0)
        pace.observe(now)
    assert passed == 50


def test_a_gateway_that_reads_late_lets_less_in() -> None:
    """What stands unread delays sends as much as a queue behind does; once it is read all may send again."""
    pace = Pace(500.0, 0.0)
    passed = []
    for window in range(150):
        now = window * WINDOW_S
        passed.append(sum(pace.take(Priority.DIRECT, now) == 0 for _ in range(50)))
        pace.ended(passed[-1], 20.0)
        pace.observe(now, late_ms=900.0 if window < 50 else 0.0)
    assert passed[0] == passed[-1] == 50
    assert max(passed[20:50]) < 25


def test_the_more_are_refused_the_longer_they_are_told_to_wait() -> None:
    """Who comes back later comes back to a queue that is shorter."""
    waits = []
    for factor in (2, 10):
        pipeline = run({Priority.DIRECT: factor * 500}, 500, 5.0)
        waits.append(pipeline.pace.take(Priority.BROADCAST, 5.0))
    assert 500 <= waits[0] < waits[1] <= 10_000


def test_pacing_ends_when_nothing_had_to_wait_for_a_while() -> None:
    """The crowd is gone: as many as come may send again."""
    pipeline = run({Priority.DIRECT: 3_000}, 1_000, 10.0, until_s=9.0)
    assert pipeline.refused.total() > 0
    paced = [pipeline.pace.per_s is not None]
    for number in range(100):
        now = 10.0 + number * WINDOW_S
        pipeline.pace.take(Priority.DIRECT, now)
        pipeline.pace.ended(1, 20.0)
        pipeline.pace.observe(now)
        paced.append(pipeline.pace.per_s is not None)
    assert (paced[0], paced[-1]) == (True, False)


def test_pacing_ends_when_nobody_sends_any_more() -> None:
    """An idle gateway holds nobody back."""
    pipeline = run({Priority.DIRECT: 3_000}, 1_000, 20.0, until_s=9.0)
    assert pipeline.pace.per_s is None
    assert pipeline.pace.delay_ms == 0
