"""What became of the earlier requests of a partition: which offsets were accepted, which ids were used."""

from __future__ import annotations

from typing import Final, Literal

from pipeline.dedupe import Dedupe, Key, key_of
from schemas.codes import Code
from schemas.records import Decision, Inbound

__all__ = ["Ledger", "Standing"]

_MAX_ENTRIES: Final = 2_000_000
_MAX_REFUSALS: Final = 200_000
_MARGIN_MS: Final = 30_000
_CODES: Final = {int(code): code for code in Code}

Standing = Literal["new", "repeat", "conflict", "unsure"]
"""What is known of a (conversation, sender, client_msg_id): `conflict` was used for other content;
`unsure` lies at the edge of the window, where sequencing may or may not remember it."""


class Ledger:
    """Moderation's memory, rebuilt from the tails of im.accepted and im.moderation.

    Sequencing counts a repeat by the times at which im.accepted took both requests. Moderation decides
    before that, by the times of im.inbound, so within a margin of the window's end it does not guess: an
    event must not be in one stage's state and missing in the other's.
    """

    def __init__(self, position: int, window_ms: int) -> None:
        self._position = position
        self._window_ms = window_ms
        self._margin_ms = min(_MARGIN_MS, window_ms // 10)
        self._uses: Dedupe[int] = Dedupe(window_ms + self._margin_ms, _MAX_ENTRIES)
        self._handled = position - 1
        self._newest_accepted = -1
        self._accepted: set[int] = set()
        self._rejected: dict[int, Code] = {}
        self._refusals: Dedupe[Code] = Dedupe(window_ms, _MAX_REFUSALS)

    def recall_use(self, key: Key, content_crc: int, at_ms: int) -> None:
        """Take one id that got its place at this time, oldest first, before any `recall`."""
        self._uses.remember(key, content_crc, at_ms)

    def recall_newest(self, source_offset: int) -> None:
        """Take the newest source of records of im.accepted whose ids are known and that all come from before
        the position, before any `recall`."""
        self._newest_accepted = source_offset

    def recall(self, source_offset: int, inbound: Inbound, time_ms: int) -> bool:
        """Take one record of im.accepted, in order. Whether it counts: sequencing gives it a place."""
        if source_offset <= self._newest_accepted:
            return False
        self._newest_accepted = source_offset
        if source_offset >= self._position:
            self._accepted.add(source_offset)
        self._uses.advance(time_ms)
        key = key_of(inbound)
        if self._uses.seen(key) is not None and self._uses.age_ms(key) <= self._window_ms:
            return False
        self.remember(inbound, time_ms)
        return True

    def recall_rejection(self, decision: Decision, time_ms: int) -> None:
        """Take one rejection recorded in im.moderation at this time, in order."""
        code = _CODES.get(decision.code, Code.UNAVAILABLE)
        self.refuse((decision.conversation_id, decision.sender, decision.client_msg_id), code, time_ms)
        if decision.source_offset >= self._position:
            self._rejected[decision.source_offset] = code

    def remember(self, inbound: Inbound, time_ms: int) -> None:
        """This request is accepted, for the first time."""
        self._uses.remember(key_of(inbound), inbound.content_crc, time_ms)

    def refuse(self, key: Key, code: Code, time_ms: int) -> None:
        """This id is rejected; for good, unless its code says that it may be tried again."""
        if not code.temporary:
            self._refusals.remember(key, code, time_ms)

    def refusal(self, inbound: Inbound, time_ms: int) -> Code | None:
        """Why this id was rejected for good. Who sends it again has not heard, and may have said more since:
        accepted now, it would stand after what was said later."""
        self._refusals.advance(time_ms)
        return self._refusals.seen(key_of(inbound))

    def standing(self, inbound: Inbound, time_ms: int) -> Standing:
        """Whether its client_msg_id was used before. `time_ms`: when im.inbound took it."""
        self._uses.advance(time_ms)
        key = key_of(inbound)
        content_crc = self._uses.seen(key)
        if content_crc is None:
            return "new"
        if self._uses.age_ms(key) > self._window_ms - self._margin_ms:
            return "unsure"
        return "repeat" if content_crc == inbound.content_crc else "conflict"

    def is_done(self, offset: int) -> bool:
        """Whether this record of im.inbound needs nothing more: accepted earlier, or read twice."""
        return offset <= self._handled or offset in self._accepted

    def rejection(self, offset: int) -> Code | None:
        """Why this record was rejected before, if it was: once told, that stands."""
        return self._rejected.get(offset)

    def is_passed(self, offset: int) -> bool:
        """Whether later records were accepted already: this one was not, and cannot be any more."""
        return offset < self._newest_accepted

    def handled(self, offset: int) -> None:
        """Everything up to this offset of im.inbound is decided."""
        self._handled = max(self._handled, offset)
        self._accepted.discard(offset)
        self._rejected.pop(offset, None)
