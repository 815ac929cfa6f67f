"""As many sends as the pipeline can carry. Pure.

The pipeline is a queue that the gateway cannot see; but it sees how long its own sends take to their
place in the order, and how many get theirs in a second. As CoDel does (Nichols and Jacobson, "Controlling
Queue Delay", 2012) it looks at the least of these delays in a window: only a queue that stands delays all
of them. While it stands, what comes out is what the pipeline can carry, and a little less is let in, until
it is gone. WeChat's DAGOR (Zhou et al., 2018) found queueing time the best sign of overload too.

No answers at all are an outage, not an overload: the log keeps what comes, and nothing changes here. But
what waits for the log itself is kept by nobody yet, so a wait of twice the target slows down at once.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from gateway.limits.priority import Priority
from gateway.limits.priority_bucket import PriorityBucket

__all__ = ["WINDOW_S", "Pace"]

WINDOW_S: Final = 0.1
_MEMORY: Final = 10
"""Windows over which the pipeline's rate is taken."""
_STANDING: Final = 2
"""Windows in a row whose least delay is over the target, before sends are paced."""
_DRAIN: Final = 0.5
"""While the delay is twice the target or more, half of what comes out is let in."""
_GROWTH: Final = 1.02
"""A window in which no queue stands lets in this much more: a fifth more in a second."""
_QUICK_GROWTH: Final = 1.1
"""The same while the path is far from slow: back from next to nothing within seconds."""
_CALM_S: Final = 3.0
_BURST_S: Final = 0.1
_MIN_PER_S: Final = 100.0
"""Always let in: on a machine that is slow by itself the path is late without any queue, and to send
less would not make it quicker."""
_MIN_WAIT_MS: Final = 500
_MAX_WAIT_MS: Final = 10_000


class Pace:
    """Feed it `ended` with every send that got its place, `observe` each window; ask it with `take`."""

    def __init__(self, target_ms: float, now: float) -> None:
        self._target_ms = target_ms
        self._least_ms: float | None = None
        self._ended = 0
        self._asked = 0
        self._passed = 0
        self._held_back = False
        self._windows: deque[tuple[float, int, int, int]] = deque(maxlen=_MEMORY)
        """Of each: how long it was, how many ended, how many asked, how many went on."""
        self._asked_before = self._passed_before = 0
        """In all of these windows: a refusal, of which there are many, must cost little."""
        self._standing = 0
        self._calm_since = now
        self._observed_at = now
        self._bucket: PriorityBucket | None = None
        self.delay_ms = 0.0
        """The least delay of the latest window in which anything ended, from the socket to its place."""

    @property
    def per_s(self) -> float | None:
        """Sends a second that are let in; None: as many as come."""
        return self._bucket.per_s if self._bucket is not None else None

    def ended(self, count: int, delay_ms: float) -> None:
        """So many sends got their place, the latest of them after this time."""
        self._ended += count
        if self._least_ms is None or delay_ms < self._least_ms:
            self._least_ms = delay_ms

    def take(self, priority: Priority, now: float) -> int:
        """0 if a send goes on, otherwise when to try it again: the later the more are refused."""
        self._asked += 1
        bucket = self._bucket
        if bucket is not None:
            if bucket.wait_ms(priority, now):
                return self._hold_back()
            bucket.count()
        self._passed += 1
        return 0

    def observe(self, now: float, waiting_ms: float = 0.0, late_ms: float = 0.0) -> None:
        """A window is over; the oldest record has waited so long for the log, and sends so long to be read.

        What the log has not taken is a queue of our own: it is seen at once, whether anything ends or not.
        What waits to be read is a part of each send's delay; it grows shorter as fewer are let in, since to
        refuse one costs a fraction of what it costs to carry it.
        """
        least_ms = self._least_ms + late_ms if self._least_ms is not None else None
        self._windows.append((now - self._observed_at, self._ended, self._asked, self._passed))
        self._observed_at = now
        self._least_ms, self._ended, self._asked, self._passed = None, 0, 0, 0
        self._asked_before = sum(window[2] for window in self._windows)
        self._passed_before = sum(window[3] for window in self._windows)
        if self._held_back:
            self._calm_since = now
        self._held_back = False
        if waiting_ms > 2 * self._target_ms:
            self._slow_down(waiting_ms, now)
            return
        if least_ms is None:
            self._rest(now)
            return
        self.delay_ms = least_ms
        expected_ms = least_ms
        if least_ms > self._target_ms / 2:
            expected_ms = max(least_ms, self._grown_ms)
        if expected_ms > self._target_ms:
            self._standing += 1
            if self._standing >= _STANDING:
                self._slow_down(expected_ms, now)
        else:
            self._standing = 0
            self._speed_up(_QUICK_GROWTH if least_ms < self._target_ms / 4 else _GROWTH, now)

    def _hold_back(self) -> int:
        self._held_back = True
        asked, passed = self._asked + self._asked_before, self._passed + self._passed_before
        return max(_MIN_WAIT_MS, min(_MAX_WAIT_MS, 1000 * asked // max(1, passed)))

    def _slow_down(self, expected_ms: float, now: float) -> None:
        over = min(1.0, expected_ms / self._target_ms - 1.0)
        self._set(self._carried_per_s * (1.0 - (1.0 - _DRAIN) * over), now)
        self._calm_since = now

    def _speed_up(self, growth: float, now: float) -> None:
        if self._bucket is None:
            return
        if now - self._calm_since > _CALM_S:
            self._bucket = None
        else:
            self._set(self._bucket.per_s * growth, now)

    def _rest(self, now: float) -> None:
        """Nothing ended: an outage if anything was asked for, otherwise nobody is there to be paced."""
        if now - self._calm_since > _CALM_S and not self._asked_before:
            self._bucket = None
            self._standing = 0
            self.delay_ms = 0.0

    def _set(self, per_s: float, now: float) -> None:
        per_s = max(_MIN_PER_S, per_s)
        if self._bucket is None:
            self._bucket = PriorityBucket(per_s, _BURST_S, now)
        else:
            self._bucket.set_rate(per_s, _BURST_S, now)

    @property
    def _grown_ms(self) -> float:
        """How long what was let in during the last second, and has not ended, will take: a queue that
        grows fast is seen before its first message has come through it."""
        passed = self._passed_before
        ended = sum(window[1] for window in self._windows)
        carried_per_s = self._carried_per_s
        return 1000 * (passed - ended) / carried_per_s if carried_per_s > 0 else 0.0

    @property
    def _carried_per_s(self) -> float:
        """What came out in the last second."""
        elapsed_s = sum(window[0] for window in self._windows)
        return sum(window[1] for window in self._windows) / elapsed_s if elapsed_s > 0 else 0.0
