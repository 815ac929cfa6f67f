"""Remembering what was handled lately, by stream time: the same answers from the same log, whoever reads it."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

__all__ = ["Dedupe", "Key"]

T = TypeVar("T")
Key = tuple[str, str, str]
"""(conversation_id, sender, client_msg_id)"""


class Dedupe(Generic[T]):
    """Key → value for a window of stream time, which is the highest time seen and never a clock.

    Bounded twice: entries older than the window are forgotten, and the oldest go first when there
    would be more than `max_entries`. Each call costs O(1) amortised.
    """

    def __init__(self, window_ms: int, max_entries: int) -> None:
        self._window_ms = window_ms
        self._max_entries = max_entries
        self._values: dict[Key, T] = {}
        self._order: deque[tuple[int, Key]] = deque()
        self._now_ms = 0

    def advance(self, time_ms: int) -> None:
        """Stream time is at least this: forget what fell out of the window."""
        if time_ms > self._now_ms:
            self._now_ms = time_ms
        oldest = self._now_ms - self._window_ms
        while self._order and (self._order[0][0] < oldest or len(self._order) > self._max_entries):
            del self._values[self._order.popleft()[1]]

    def seen(self, key: Key) -> T | None:
        """What was remembered for this key, if that was inside the window."""
        return self._values.get(key)

    def remember(self, key: Key, value: T, time_ms: int) -> None:
        """Remember a key that is not remembered yet; one that is stays as it was."""
        if key not in self._values:
            self._values[key] = value
            self._order.append((max(time_ms, self._now_ms), key))
        self.advance(time_ms)

    def __len__(self) -> int:
        return len(self._values)
