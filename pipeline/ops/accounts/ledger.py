"""The books of one partition: whatever went into a step of the path came out of it, once.

Three steps, each joined by offsets alone. An offset of im.inbound owes a decision (it was accepted,
rejected or dead-lettered), an effective Accepted owes a place (a Message, or it repeats a
client_msg_id), a Message owes a row. A stage commits an offset only after its effects, so a step is
due when the stage has committed past it: no clock decides what is late, and what is not committed is
in flight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

import msgspec

from pipeline.ops.accounts.findings import MAX_FINDINGS, Finding, place_of
from schemas.records import Routing
from schemas.topics import ACCEPTED, INBOUND, MESSAGES

__all__ = ["Leg", "Ledger", "Outcome", "Placed", "SeqWalk", "Starts"]

Outcome = Literal["accepted", "rejected", "dead_lettered", "sent", "repeat", "stored", "again"]
"""`repeat`: the client said it before. `again`: a restarted stage wrote what was written already."""

_CONVERSATIONS: Final = 100_000
_FORGOTTEN: Final = 5_000


class Leg:
    """One step: each offset owes one outcome.

    An offset is unaccounted once it was looked for `looks` times without one; an outcome that comes
    later settles it after all.
    """

    def __init__(self, start: int, looks: int) -> None:
        self.settled = start
        self.counts: Counter[Outcome] = Counter()
        self.unnamed = 0
        """Offsets beyond `MAX_FINDINGS` that owe: counted only."""
        self._looks = looks
        self._early: dict[int, Outcome] = {}
        self._owing: dict[int, int] = {}

    def note(self, offset: int, outcome: Outcome) -> None:
        """What became of an offset. The first outcome counts, later ones are repeats."""
        if offset >= self.settled:
            self._early.setdefault(offset, outcome)
        elif self._owing.pop(offset, 0):
            self.counts[outcome] += 1

    def knows(self, offset: int) -> bool:
        """Whether an outcome of this offset was noted, or none is owed."""
        return offset in self._early or (offset < self.settled and offset not in self._owing)

    def settle(self, until: int) -> None:
        """The stage has committed up to here, and every outcome written before that was noted."""
        for offset in self._owing:
            self._owing[offset] += 1
        for offset in range(self.settled, until):
            outcome = self._early.pop(offset, None)
            if outcome is not None:
                self.counts[outcome] += 1
            elif len(self._owing) < MAX_FINDINGS:
                self._owing[offset] = 1
            else:
                self.unnamed += 1
        self.settled = max(self.settled, until)

    def owing(self) -> list[int]:
        """Settled offsets without an outcome so far."""
        return list(self._owing)

    def fresh(self) -> list[int]:
        """Those that were looked for only once yet: worth a closer look."""
        return [offset for offset, looks in self._owing.items() if looks == 1]

    def unaccounted(self) -> list[int]:
        """Those that were looked for often enough."""
        return [offset for offset, looks in self._owing.items() if looks >= self._looks]

    def excuse(self, offset: int) -> None:
        """There is no record at this offset, so nothing is owed for it."""
        self._owing.pop(offset, None)


class Placed(msgspec.Struct, frozen=True, gc=False):
    """A Message that should be stored."""

    offset: int
    conversation_id: str
    seq: int
    sent_at_ms: int


class SeqWalk:
    """The seqs of each conversation as the log has them: each once, without a hole.

    Of conversations that were quiet for long the place is forgotten; their next seq is taken as it is.
    """

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def step(self, conversation_id: str, seq: int) -> int:
        """0: the next one. Positive: so many are missing before it. Negative: it was there before."""
        last = self._last.pop(conversation_id, seq - 1)
        self._last[conversation_id] = max(seq, last)
        if len(self._last) > _CONVERSATIONS:
            for stale in list(self._last)[:_FORGOTTEN]:
                del self._last[stale]
        return seq - last - 1


class Starts(msgspec.Struct, frozen=True):
    """The first offset of each topic that is accounted for."""

    inbound: int
    accepted: int
    messages: int


class Ledger:
    """The three legs of one partition, fed with what its topics hold, in their order."""

    def __init__(self, partition: int, starts: Starts, looks: int = 2) -> None:
        self.partition = partition
        self.decided = Leg(starts.inbound, looks)
        self.placed = Leg(starts.accepted, looks)
        self.stored = Leg(starts.messages, looks)
        self.wrong: list[Finding] = []
        """Doubles and holes in the order; at most `MAX_FINDINGS`."""
        self.newest_inbound = -1
        """The highest im.inbound offset that an Accepted was made from."""
        self.newest_accepted = -1
        """The highest im.accepted offset that a Message was made from."""
        self._walk = SeqWalk()
        self._waiting: dict[int, Placed] = {}

    @property
    def waiting_count(self) -> int:
        """Messages that were not found stored yet."""
        return len(self._waiting)

    # What the topics say

    def accepted(self, offset: int, source_offset: int) -> None:
        """A record of im.accepted. One whose source does not rise is dropped by its readers."""
        if source_offset <= self.newest_inbound:
            self.placed.note(offset, "again")
            return
        self.newest_inbound = source_offset
        self.decided.note(source_offset, "accepted")

    def rejected(self, source_offset: int) -> None:
        """A rejection in im.moderation."""
        self.decided.note(source_offset, "rejected")

    def message(self, offset: int, conversation_id: str, routing: Routing) -> Placed | None:
        """A record of im.messages; None if its readers drop it."""
        if routing.source_offset <= self.newest_accepted:
            self.stored.note(offset, "again")
            return None
        self.newest_accepted = routing.source_offset
        self.placed.note(routing.source_offset, "sent")
        placed = Placed(offset, conversation_id, routing.seq, routing.sent_at_ms)
        self._check_order(placed)
        if offset >= self.stored.settled:
            self._waiting[offset] = placed
        return placed

    def dead_letter(self, topic: str, offset: int) -> None:
        """A record of this partition that went to im.dlq."""
        legs = {INBOUND: self.decided, ACCEPTED: self.placed, MESSAGES: self.stored}
        if topic in legs:
            legs[topic].note(offset, "dead_lettered")

    def repeats(self, accepted_offsets: Iterable[int]) -> None:
        """Accepteds whose client_msg_id has its place already."""
        for offset in accepted_offsets:
            self.placed.note(offset, "repeat")

    # What the history says

    def to_find(self, until: int) -> dict[str, list[Placed]]:
        """Conversation → messages before this offset of im.messages that were not found stored yet."""
        wanted: dict[str, list[Placed]] = {}
        for offset, placed in self._waiting.items():
            if offset < until:
                wanted.setdefault(placed.conversation_id, []).append(placed)
        return wanted

    def found(self, wanted: Iterable[Placed], rows: Mapping[int, str]) -> None:
        """Which of these one conversation's rows (seq → message id) hold."""
        for placed in wanted:
            if placed.seq in rows:
                self.stored.note(placed.offset, "stored")

    # The books

    def settle(self, inbound: int, accepted: int, messages: int) -> None:
        """The stages have committed up to these offsets, and all they wrote before that was fed."""
        self.decided.settle(inbound)
        self.placed.settle(accepted)
        self.stored.settle(messages)
        owing = set(self.stored.owing())
        self._waiting = {o: p for o, p in self._waiting.items() if o >= self.stored.settled or o in owing}

    def missing_rows(self) -> Iterator[Placed]:
        """Messages that are unaccounted for in the history."""
        return (self._waiting[offset] for offset in self.stored.unaccounted() if offset in self._waiting)

    def _check_order(self, placed: Placed) -> None:
        step = self._walk.step(placed.conversation_id, placed.seq)
        if step == 0 or len(self.wrong) >= MAX_FINDINGS:
            return
        if step < 0:
            text = f"seq {placed.seq} was given before"
        elif step == 1:
            text = f"seq {placed.seq - 1} is in no message"
        else:
            text = f"seqs {placed.seq - step} to {placed.seq - 1} are in no message"
        self.wrong.append(
            Finding(
                between="accepted-message",
                what="double" if step < 0 else "missing",
                place=place_of(MESSAGES, self.partition, placed.offset),
                text=text,
                conversation_id=placed.conversation_id,
                seq=placed.seq if step < 0 else placed.seq - 1,
            )
        )
