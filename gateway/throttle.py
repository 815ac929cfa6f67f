"""How much a client may ask for: token buckets, with the time passed in."""

from __future__ import annotations

from typing import Final

from infra.settings import Settings

__all__ = ["PATIENCE", "UNLIMITED", "Rate", "TokenBucket", "frame_rate", "request_rate", "send_rate"]


class Rate:
    """What a bucket holds and how quickly it fills."""

    __slots__ = ("burst", "per_s")

    def __init__(self, per_s: float, burst: float) -> None:
        self.per_s = per_s
        self.burst = burst


UNLIMITED: Final = Rate(float("inf"), float("inf"))
PATIENCE: Final = Rate(per_s=2.0, burst=20.0)
"""Offences a session is forgiven: 20 bad frames at once or in ten seconds; more closes it with 4503.
A frame over a rate limit weighs a fiftieth, so a busy but well-formed client is only told to wait."""


def send_rate(settings: Settings) -> Rate:
    """Sends and changes of one user on this gateway, over all sessions."""
    return UNLIMITED if settings.limits == "off" else Rate(settings.sends_per_s, settings.send_burst)


def request_rate(settings: Settings) -> Rate:
    """Everything else that has an answer, per session: twice what a user may send."""
    rate = send_rate(settings)
    return rate if rate is UNLIMITED else Rate(2 * rate.per_s, 2 * rate.burst)


def frame_rate(settings: Settings) -> Rate:
    """Frames of one connection, whatever is in them."""
    return UNLIMITED if settings.limits == "off" else Rate(settings.frames_per_s, settings.frame_burst)


class TokenBucket:
    """A bucket that starts full. `take` costs the same whatever time has passed."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, rate: Rate, now: float) -> None:
        self._tokens = rate.burst
        self._at = now

    def take(self, rate: Rate, now: float, cost: float = 1.0) -> int:
        """Take `cost` tokens and return 0; or take nothing and return the milliseconds to wait."""
        if rate is UNLIMITED:
            return 0
        self._tokens = min(rate.burst, self._tokens + max(0.0, now - self._at) * rate.per_s)
        self._at = now
        if self._tokens >= cost:
            self._tokens -= cost
            return 0
        return 1 + int(1000 * (cost - self._tokens) / rate.per_s)
