"""Who gets which seq: a deterministic function of im.accepted.

Two workers that read the same log assign the same seqs, whatever clocks, policies or caches they
have. So a worker that wakes up after its partition moved on can only write what is there already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pipeline.dedupe import Dedupe, Key, key_of
from pipeline.sequencing.place import Place
from schemas.records import Inbound, Message

__all__ = ["Conflict", "SequenceAllocator"]


class Conflict(msgspec.Struct, frozen=True, gc=False):
    """The client_msg_id stands for other content already."""

    place: Place


class SequenceAllocator:
    """The state of one partition: the newest seq of each conversation, and what was placed lately.

    `recall_entry` and `recall` rebuild it from im.places and the tail of im.messages, `learn` adds what
    the history knows of conversations that were quiet for longer. `assign` then handles im.accepted in
    order.
    """

    def __init__(self, window_ms: int, max_entries: int) -> None:
        self._seqs: dict[str, int] = {}
        self._placed: Dedupe[Place] = Dedupe(window_ms, max_entries)
        self.done_offset = -1
        """The highest im.accepted offset that has its place in im.messages."""

    def recall_entry(self, key: Key, place: Place) -> None:
        """Take one entry of im.places, oldest first; one that comes again changes nothing."""
        self._seqs[key[0]] = max(place.seq, self._seqs.get(key[0], 0))
        self._placed.remember(key, place, place.sent_at_ms)

    def recall(self, message: Message) -> tuple[Key, Place] | None:
        """Take one record of the tail of im.messages, after all entries; None if it is a repeat."""
        if message.source_offset <= self.done_offset:
            return None
        self.done_offset = message.source_offset
        self._seqs[message.conversation_id] = message.seq
        place = Place(message.seq, message.sent_at_ms, message.message_id, message.content_crc)
        key = key_of(message)
        self._placed.remember(key, place, message.sent_at_ms)
        return key, place

    def unknown(self, conversation_ids: Iterable[str]) -> set[str]:
        """The conversations of these that `learn` must be told of before `assign`."""
        return {c for c in conversation_ids if c not in self._seqs}

    def learn(self, heads: Mapping[str, int]) -> None:
        """Newest seqs from the history (0: no message yet)."""
        for conversation_id, seq in heads.items():
            self._seqs.setdefault(conversation_id, seq)

    def assign(self, inbound: Inbound, offset: int, time_ms: int) -> tuple[Place, bool] | Conflict:
        """The place of the accepted message at `offset`, and whether it is new.

        `time_ms` is when the log took it: the same for every reader, and never falling. A repeat
        of (conversation, sender, client_msg_id) inside the window gets its first place again.
        """
        key = key_of(inbound)
        self._placed.advance(time_ms)
        placed = self._placed.seen(key)
        if placed is not None:
            return (placed, False) if placed.content_crc == inbound.content_crc else Conflict(placed)
        seq = self._seqs[inbound.conversation_id] + 1
        self._seqs[inbound.conversation_id] = seq
        self.done_offset = offset
        place = Place(seq, time_ms, inbound.message_id, inbound.content_crc)
        self._placed.remember(key, place, time_ms)
        return place, True

    def stalest(self, count: int) -> dict[str, int]:
        """The conversations that were quiet for longest, with their seqs."""
        return {c: self._seqs[c] for c in list(self._seqs)[:count]}

    def forget(self, conversation_ids: Iterable[str]) -> None:
        """Drop conversations whose newest seq the history is known to hold."""
        for conversation_id in conversation_ids:
            self._seqs.pop(conversation_id, None)

    def __len__(self) -> int:
        return len(self._seqs)
