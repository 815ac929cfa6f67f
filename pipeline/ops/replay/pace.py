"""How fast a replay may go: a token bucket. Pure."""

from __future__ import annotations

__all__ = ["Pace"]


class Pace:
    """At most `per_s` records a second on average, a quarter of a second's worth at once; 0: no limit."""

    def __init__(self, per_s: int, now: float) -> None:
        self.burst = max(1, per_s // 4) if per_s else 0
        """The most that should be asked for at once."""
        self._per_s = per_s
        self._full_at = now

    def wait_s(self, count: int, now: float) -> float:
        """How long to wait before these records; they count as taken."""
        if not self._per_s:
            return 0.0
        allowed_at = max(self._full_at, now - self.burst / self._per_s)
        self._full_at = allowed_at + count / self._per_s
        return max(0.0, self._full_at - now)
