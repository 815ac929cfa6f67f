"""What was handled lately: the memory behind "the same client_msg_id gets the same answer".

Time is the stream's own, so two workers that read the same log remember the same things; and where the
stream stands still, so does its time: who was not answered in an outage asks again after it.
"""

from __future__ import annotations

from itertools import islice
from typing import Final, Generic, TypeVar

from schemas.records import Inbound, Message

__all__ = ["LONGEST_GAP_MS", "Dedupe", "Key", "key_of"]

T = TypeVar("T")
Key = tuple[str, str, str]
"""(conversation_id, sender, client_msg_id), none of which holds a NUL."""

LONGEST_GAP_MS: Final = 10_000
"""What a time without any record counts for at most."""
_SLICES = 64


def key_of(said: Inbound | Message) -> Key:
    """What makes two requests the same one."""
    return said.conversation_id, said.sender, said.client_msg_id


class Dedupe(Generic[T]):
    """Values by (conversation_id, sender, client_msg_id), each remembered for a window of stream time.

    An entry is seen while it is at most `window_ms` older than the newest time given to `remember`
    or `advance`; a time that falls counts as the newest one, and one that is more than `LONGEST_GAP_MS`
    later as that much later. Above `max_entries` the oldest 1/64 is
    forgotten early. Memory is freed in slices of 1/64 of the window, so that it costs nothing per
    call and at most a few milliseconds at once. 0.5 µs a call, some 330 bytes an entry.
    """

    __slots__ = ("_entries", "_freed_ms", "_max_entries", "_newest_ms", "_now_ms", "_slice_ms", "_window_ms")

    def __init__(self, window_ms: int, max_entries: int) -> None:
        self._window_ms = window_ms
        self._max_entries = max_entries
        self._slice_ms = max(1, window_ms // _SLICES)
        self._newest_ms: int | None = None
        self._now_ms = 0
        """How long the stream has run."""
        self._freed_ms = 0
        # One string per key (half the memory of a tuple of three), in the order of their times.
        self._entries: dict[str, tuple[int, T]] = {}

    def seen(self, key: Key) -> T | None:
        """What was remembered under this key inside the window."""
        entry = self._entries.get("\0".join(key))
        if entry is None or entry[0] < self._now_ms - self._window_ms:
            return None
        return entry[1]

    def age_ms(self, key: Key) -> int:
        """How long ago a key that is seen was remembered."""
        return self._now_ms - self._entries["\0".join(key)][0]

    def remember(self, key: Key, value: T, time_ms: int) -> None:
        """Remember from this time on. A value that stands under the key already is replaced."""
        self.advance(time_ms)
        text = "\0".join(key)
        self._entries.pop(text, None)
        self._entries[text] = (self._now_ms, value)
        if len(self._entries) > self._max_entries:
            self._forget(max(1, self._max_entries // _SLICES))

    def advance(self, time_ms: int) -> None:
        """The stream has come to this time: what is older than the window is forgotten."""
        if self._newest_ms is None:
            self._newest_ms = time_ms
        elif time_ms > self._newest_ms:
            self._now_ms += min(time_ms - self._newest_ms, LONGEST_GAP_MS)
            self._newest_ms = time_ms
        if self._now_ms - self._freed_ms < self._slice_ms:
            return
        self._freed_ms = self._now_ms
        oldest_ms = self._now_ms - self._window_ms
        expired = 0
        for at_ms, _ in self._entries.values():
            if at_ms >= oldest_ms:
                break
            expired += 1
        self._forget(expired)

    def _forget(self, count: int) -> None:
        for text in list(islice(self._entries, count)):
            del self._entries[text]

    def __len__(self) -> int:
        return len(self._entries)
