"""How long to wait before the next try: full jitter, so that clients cut at once do not come back at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["RECONNECT", "RETRY_SEND", "Backoff"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Between 0 and `base_s` doubled with each try, never more than `cap_s`."""

    base_s: float
    cap_s: float

    def delay_s(self, tries: int, jitter: Callable[[], float]) -> float:
        """The wait after the `tries`th failure in a row (from 1). `jitter` returns a number in [0, 1)."""
        return jitter() * min(self.cap_s, self.base_s * 2.0 ** min(tries - 1, 30))


RECONNECT: Final = Backoff(base_s=0.5, cap_s=30.0)
RETRY_SEND: Final = Backoff(base_s=0.5, cap_s=30.0)
