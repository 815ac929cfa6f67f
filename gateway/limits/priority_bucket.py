"""A token bucket whose last tokens are kept for what matters more. Pure."""

from __future__ import annotations

from typing import Final

from gateway.limits.priority import PRIORITIES, Priority

__all__ = ["PriorityBucket"]

_MIN_BURST: Final = float(PRIORITIES)
_MAX_WAIT_MS: Final = 10_000


class PriorityBucket:
    """Priority p leaves p fifths of the bucket alone.

    So while the bucket cannot fill, what waits with a high priority takes everything, and a lower one
    begins to pass only once the higher ones leave something over.
    """

    __slots__ = ("_at", "_burst", "_tokens", "per_s")

    def __init__(self, per_s: float, burst_s: float, now: float) -> None:
        self.per_s = per_s
        self._burst = max(_MIN_BURST, per_s * burst_s)
        self._tokens = self._burst
        self._at = now

    def set_rate(self, per_s: float, burst_s: float, now: float) -> None:
        """Go on at another rate with the tokens that are there, as far as the new bucket holds them."""
        self._fill(now)
        self.per_s = per_s
        self._burst = max(_MIN_BURST, per_s * burst_s)
        self._tokens = min(self._tokens, self._burst)

    def wait_ms(self, priority: Priority, now: float) -> int:
        """0 if one of this priority may pass now; otherwise how long until it may, alone."""
        self._fill(now)
        missing = 1.0 + self._burst * priority / PRIORITIES - self._tokens
        if missing <= 0:
            return 0
        if self.per_s * _MAX_WAIT_MS < missing * 1000:
            return _MAX_WAIT_MS
        return 1 + int(1000 * missing / self.per_s)

    def count(self) -> None:
        """One passed."""
        self._tokens -= 1.0

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self.per_s)
            self._at = now
