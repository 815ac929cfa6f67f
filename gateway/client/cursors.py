"""How far others have received and read, as this client has heard. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from schemas.frames import Receipt

__all__ = ["Cursors"]

LIMIT: Final = 10_000
"""Cursors that are remembered; beyond, those that did not move for longest are forgotten."""


class Cursors:
    """Keeps what a cursor has reached: receipts repeat and overtake each other, cursors only rise."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._reached: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()

    def raises(self, receipt: Receipt) -> bool:
        """Whether this says more than what was said before; if so, it is remembered."""
        key = receipt.conversation_id, receipt.user_id
        delivered, read = before = self._reached.get(key, (0, 0))
        now = max(delivered, receipt.delivered_seq or 0), max(read, receipt.read_seq or 0)
        if now == before:
            return False
        self._reached[key] = now
        self._reached.move_to_end(key)
        if len(self._reached) > self._limit:
            self._reached.popitem(last=False)
        return True

    def of(self, conversation_id: str, user_id: str) -> tuple[int, int]:
        """How far this user has received and read."""
        return self._reached.get((conversation_id, user_id), (0, 0))
