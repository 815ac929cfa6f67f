"""Whether this process stood still: stopped, swapped out, or moved with its machine. Pure."""

from __future__ import annotations

from math import inf
from typing import Final

from schemas.codes import Code
from schemas.errors import Refused

__all__ = ["STOOD_STILL_S", "Standstill"]

STOOD_STILL_S: Final = 1.0
"""A gap between two looks that no load explains: at such a lag `room.py` takes nobody anyway."""
_SETTLE_S: Final = 1.0
"""How long what gathered in the sockets meanwhile may take to be read."""


class Standstill:
    """Turns connections away that may have waited in a socket while the process stood still.

    Who asked for one may have gone elsewhere long ago, and would lose the connection he has there to
    the one that he gave up (a device has one connection). Who is still there asks again.
    """

    def __init__(self) -> None:
        self._looked_at = inf
        self._until = -inf

    def look(self, now: float) -> None:
        """To be called at least twice in `STOOD_STILL_S`. Monotonic seconds."""
        if now - self._looked_at > STOOD_STILL_S:
            self._until = now + _SETTLE_S
        self._looked_at = now

    def check(self, now: float) -> None:
        """Raises `Refused` for whatever comes right after a standstill."""
        self.look(now)
        if now < self._until:
            raise Refused(Code.UNAVAILABLE, "this gateway stood still", retry_after_ms=int(1000 * _SETTLE_S))
