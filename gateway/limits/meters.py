"""What each user, ip and pair has taken, as two numbers each. Pure.

A meter is the generic cell rate algorithm: instead of tokens it keeps the time at which its bucket
will be full again, so it costs one comparison and one addition whatever time has passed.
"""

from __future__ import annotations

from typing import Final

from gateway.throttle import UNLIMITED, Rate

__all__ = ["Meter", "Meters"]

MAX_KEYS: Final = 100_000


class Meter:
    """Of one key: when the bucket of its rate is full again, and that of its window."""

    __slots__ = ("full_at", "window_full_at")

    def __init__(self) -> None:
        self.full_at = 0.0
        self.window_full_at = 0.0


class Meters:
    """The meters of one kind: at most `max_keys`, the latest used are kept.

    `rate`: what passes. `window`: what may be tried; a bucket that holds as many as the window allows
    and fills once in a window, so a count that decays. Kept in two generations: when the young one is
    full the old one is forgotten, so a look-up costs no bookkeeping.
    """

    __slots__ = ("_generation", "_old", "_slack_s", "_step_s", "_window_slack_s", "_window_step_s", "_young")

    def __init__(self, rate: Rate, window: Rate = UNLIMITED, max_keys: int = MAX_KEYS) -> None:
        self._young: dict[str, Meter] = {}
        self._old: dict[str, Meter] = {}
        self._generation = max(1, max_keys // 2)
        self._step_s, self._slack_s = _steps(rate)
        self._window_step_s, self._window_slack_s = _steps(window)

    def of(self, key: str) -> Meter:
        """The meter of this key. One that was forgotten begins anew: it was not used for long, or is one
        of very many."""
        meter = self._young.get(key)
        return meter if meter is not None else self._renew(key)

    def wait_ms(self, meter: Meter, now: float) -> int:
        """0 if one more may pass now, otherwise when it may. Counts nothing."""
        wait_s = meter.full_at - self._slack_s - now
        return 0 if wait_s <= 0 else 1 + int(1000 * wait_s)

    def tried(self, meter: Meter, now: float) -> bool:
        """One is tried, whether or not it passes. True: that was one too many, and counting begins anew."""
        full_at = meter.window_full_at
        full_at = (full_at if full_at > now else now) + self._window_step_s  # noqa: FURB136 `max` costs more
        too_many = full_at - self._window_slack_s > now + self._window_step_s
        meter.window_full_at = now if too_many else full_at
        return too_many

    def count(self, meter: Meter, now: float) -> None:
        """One passed."""
        full_at = meter.full_at
        meter.full_at = (full_at if full_at > now else now) + self._step_s  # noqa: FURB136

    def take(self, key: str, now: float) -> int:
        """Count one if it may pass: 0, or in how many ms it may."""
        meter = self.of(key)
        wait_ms = self.wait_ms(meter, now)
        if not wait_ms:
            self.count(meter, now)
        return wait_ms

    def _renew(self, key: str) -> Meter:
        if len(self._young) >= self._generation:
            self._old, self._young = self._young, {}
        meter = self._old.pop(key) if key in self._old else Meter()
        self._young[key] = meter
        return meter


def _steps(rate: Rate) -> tuple[float, float]:
    """What one costs in seconds, and how many seconds may be owed."""
    if rate is UNLIMITED:
        return 0.0, 0.0
    return 1.0 / rate.per_s, (rate.burst - 1) / rate.per_s
