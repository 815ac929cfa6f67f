"""Feeds the books of one partition from the log and the history, a bounded piece at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from infra.ports import Bus, HistoryStore, Record
from infra.together import look_up
from pipeline.dedupe import Key, key_of
from pipeline.ops.accounts.ledger import Ledger, Placed, Starts
from pipeline.places import newest_before
from pipeline.topology import group_of
from schemas.codec import ACCEPTED as ACCEPTED_CODEC
from schemas.codec import DECISION, MESSAGE
from schemas.errors import Undecodable
from schemas.topics import ACCEPTED, DEAD_LETTERS, INBOUND, MESSAGES, MODERATION

__all__ = ["DeadLetters", "Head", "LedgerReader", "Marks", "fetch", "read_marks"]

READ_RECORDS: Final = 20_000
"""Records of one topic in one step: some 12 MB at most while they are looked at."""
_WAITING: Final = 100_000
"""Messages whose rows are not due yet: while there are more, the log is not read on."""
_CONTEXT_MS: Final = 60_000
"""How much earlier than the books reading begins: more than two machines' clocks differ."""
_NOBODY: Final = ("", "", "")


class Marks(msgspec.Struct, frozen=True):
    """How far a partition is. The commits were read first, so what they owe lies before the ends."""

    inbound: int
    accepted: int
    messages: int
    inbound_end: int
    accepted_end: int
    decisions_end: int
    messages_end: int

    @property
    def in_flight(self) -> int:
        """Records that a stage has not committed yet."""
        return (
            max(0, self.inbound_end - self.inbound)
            + max(0, self.accepted_end - self.accepted)
            + max(0, self.messages_end - self.messages)
        )


class Head(msgspec.Struct, frozen=True):
    """The newest message of a conversation in a step, and its record."""

    placed: Placed
    value: bytes


async def read_marks(bus: Bus) -> dict[int, Marks]:
    """Where every partition stands. Raises `Unavailable`."""
    inbound = await bus.committed(group_of("moderation"), INBOUND)
    accepted = await bus.committed(group_of("sequencing"), ACCEPTED)
    messages = await bus.committed(group_of("persistence"), MESSAGES)
    ends = {topic: await bus.ends(topic) for topic in (INBOUND, ACCEPTED, MODERATION, MESSAGES)}
    return {
        p: Marks(
            inbound.get(p, 0),
            accepted.get(p, 0),
            messages.get(p, 0),
            ends[INBOUND][p],
            ends[ACCEPTED][p],
            ends[MODERATION][p],
            ends[MESSAGES][p],
        )
        for p in ends[INBOUND]
    }


async def fetch(bus: Bus, topic: str, partition: int, start: int, end: int | None) -> list[Record]:
    """The records of a range."""
    found: list[Record] = []
    if end is None or start < end:
        await bus.read_range(topic, partition, start, end, found.extend)
    return found


class DeadLetters:
    """What went to im.dlq, told to the books of the partitions it came from."""

    def __init__(self, bus: Bus, position: int) -> None:
        self._bus = bus
        self._position = position

    async def look(self, ledgers: dict[int, Ledger]) -> None:
        """Read on to the end. A letter without a readable origin is passed over: nobody owes for it."""
        end = (await self._bus.ends(DEAD_LETTERS))[0]
        while self._position < end:
            until = min(end, self._position + READ_RECORDS)
            for record in await fetch(self._bus, DEAD_LETTERS, 0, self._position, until):
                origin = dict(record.headers)
                topic = origin.get("__streams.errors.topic", b"").decode(errors="replace")
                partition = _number(origin.get("__streams.errors.partition", b""))
                offset = _number(origin.get("__streams.errors.offset", b""))
                if partition in ledgers and offset >= 0:
                    ledgers[partition].dead_letter(topic, offset)
            self._position = until


class LedgerReader:
    """Reads one partition, from a moment on, into a `Ledger`.

    A step that raises `Unavailable` may be repeated: positions move only with what was fed.
    """

    def __init__(self, bus: Bus, history: HistoryStore, partition: int, window_ms: int) -> None:
        self._bus = bus
        self._history = history
        self._partition = partition
        self._window_ms = window_ms
        self._newest_decided = -1
        self._accepted_at = self._decisions_at = self._messages_at = 0
        self.ledger = Ledger(partition, Starts(0, 0, 0))
        self._before = self._position
        self._heads: dict[str, Head] = {}
        self._unexplained: tuple[list[int], list[int]] = ([], [])
        self.until_ms = 0
        """The books are closed up to here: when the last settled Message was sent."""

    async def open(self, since_ms: int, looks: int) -> None:
        """The books begin at this time; what their readers must have seen before, a little earlier."""
        begins = {topic: await self._at(topic, since_ms) for topic in (INBOUND, ACCEPTED, MESSAGES)}
        starts = Starts(begins[INBOUND], begins[ACCEPTED], begins[MESSAGES])
        self.ledger = Ledger(self._partition, starts, looks)
        self._accepted_at = await self._at(ACCEPTED, since_ms - _CONTEXT_MS)
        self._decisions_at = await self._at(MODERATION, since_ms - _CONTEXT_MS)
        self._messages_at = await self._at(MESSAGES, since_ms - _CONTEXT_MS)
        self.until_ms = since_ms

    async def look(self, marks: Marks) -> dict[str, Head]:
        """One step: read on, ask the history, settle what is due. The heads of the messages read."""
        self._before = self._position
        await self._read_accepted(marks)
        await self._read_decisions(marks)
        await self._read_messages(marks)
        messages = min(marks.messages, self._messages_at)
        await self._find_rows(messages)
        self.ledger.settle(self._inbound_due(marks), self._accepted_due(marks), messages)
        self._unexplained[0].extend(self.ledger.decided.fresh())
        self._unexplained[1].extend(self.ledger.placed.fresh())
        await self._explain()
        heads, self._heads = self._heads, {}
        return heads

    def is_level(self, marks: Marks) -> bool:
        """Whether everything up to these marks was read, or the last step could not read on."""
        ends = marks.accepted_end, marks.decisions_end, marks.messages_end
        at_end = all(at >= end for at, end in zip(self._position, ends, strict=True))
        return at_end or self._position == self._before

    @property
    def _position(self) -> tuple[int, int, int]:
        return self._accepted_at, self._decisions_at, self._messages_at

    # Reading

    async def _read_accepted(self, marks: Marks) -> None:
        until = min(marks.accepted_end, self._accepted_at + READ_RECORDS)
        for record in await fetch(self._bus, ACCEPTED, self._partition, self._accepted_at, until):
            with suppress(Undecodable):
                self.ledger.accepted(record.offset, ACCEPTED_CODEC.leading(record.value))
        self._accepted_at = max(until, self._accepted_at)

    async def _read_decisions(self, marks: Marks) -> None:
        until = min(marks.decisions_end, self._decisions_at + READ_RECORDS)
        for record in await fetch(self._bus, MODERATION, self._partition, self._decisions_at, until):
            with suppress(Undecodable):
                offset = DECISION.leading(record.value)
                self._newest_decided = max(self._newest_decided, offset)
                if self.ledger.decided.knows(offset):
                    continue  # accepted needs no second witness, so most decisions are not decoded
                if DECISION.decode(record.value).verdict == "reject":
                    self.ledger.rejected(offset)
        self._decisions_at = max(until, self._decisions_at)

    async def _read_messages(self, marks: Marks) -> None:
        room = max(0, _WAITING - self.ledger.waiting_count)
        until = min(marks.messages_end, self._messages_at + min(room, READ_RECORDS))
        for record in await fetch(self._bus, MESSAGES, self._partition, self._messages_at, until):
            with suppress(Undecodable):
                routing = MESSAGE.peek(record.value)
                conversation_id = (record.key or b"").decode(errors="replace")
                placed = self.ledger.message(record.offset, conversation_id, routing)
                if placed is not None and record.offset >= self.ledger.stored.settled:
                    self._heads[conversation_id] = Head(placed, record.value or b"")
                    self.until_ms = max(self.until_ms, routing.sent_at_ms)
        self._messages_at = max(until, self._messages_at)

    async def _find_rows(self, until: int) -> None:
        wanted = self.ledger.to_find(until)

        async def rows(conversation_id: str) -> dict[int, str]:
            seqs = [placed.seq for placed in wanted[conversation_id]]
            return await self._history.stored_ids(conversation_id, min(seqs), max(seqs))

        for conversation_id, found in (await look_up(wanted, rows)).items():
            self.ledger.found(wanted[conversation_id], found)

    # What is due

    def _inbound_due(self, marks: Marks) -> int:
        due = marks.inbound
        if self._accepted_at < marks.accepted_end:
            due = min(due, self.ledger.newest_inbound + 1)
        if self._decisions_at < marks.decisions_end:
            due = min(due, self._newest_decided + 1)
        return due

    def _accepted_due(self, marks: Marks) -> int:
        due = min(marks.accepted, self._accepted_at)
        if self._messages_at < marks.messages_end:
            due = min(due, self.ledger.newest_accepted + 1)
        return due

    async def _explain(self) -> None:
        """Tell repeats of a client_msg_id from losses, and offsets that hold no record from records."""
        undecided, unplaced = self._unexplained
        present = {record.offset for record in await self._records(INBOUND, undecided)}
        for offset in set(undecided) - present:
            self.ledger.decided.excuse(offset)
        asked = await self._records(ACCEPTED, unplaced)
        for offset in set(unplaced) - {record.offset for record in asked}:
            self.ledger.placed.excuse(offset)
        keys = {record.offset: key for record in asked for key in _keys(record)}
        if keys:
            first = min(asked, key=lambda record: record.offset)
            since_ms = await newest_before(
                self._bus, ACCEPTED, self._partition, first.offset, first.timestamp_ms
            )
            since_ms -= self._window_ms
            start = await self._at(MESSAGES, since_ms - _CONTEXT_MS)
            said = await self._said(set(keys.values()), start)
            self.ledger.repeats(
                record.offset
                for record in asked
                if any(
                    since_ms <= at_ms <= record.timestamp_ms
                    for at_ms in said.get(keys.get(record.offset, _NOBODY), ())
                )
            )
        self._unexplained = ([], [])

    async def _records(self, topic: str, offsets: Sequence[int]) -> list[Record]:
        """The records at these offsets, which lie close together."""
        if not offsets:
            return []
        wanted = set(offsets)
        found = await fetch(self._bus, topic, self._partition, min(offsets), max(offsets) + 1)
        return [record for record in found if record.offset in wanted]

    async def _said(self, keys: set[Key], start: int) -> dict[Key, list[int]]:
        """When each of these client_msg_ids got a place, as far as they did."""
        said: dict[Key, list[int]] = {}
        conversations = {key[0].encode() for key in keys}

        def take(records: Sequence[Record]) -> None:
            for record in records:
                if record.key in conversations:
                    with suppress(Undecodable):
                        message = MESSAGE.decode(record.value)
                        key = (message.conversation_id, message.sender, message.client_msg_id)
                        if key in keys:
                            said.setdefault(key, []).append(message.sent_at_ms)

        await self._bus.read_range(MESSAGES, self._partition, start, self._messages_at, take)
        return said

    async def _at(self, topic: str, time_ms: int) -> int:
        return await self._bus.offsets_at(topic, self._partition, max(0, time_ms))


def _keys(record: Record) -> Iterator[Key]:
    """What an Accepted would repeat; nothing if it is none."""
    with suppress(Undecodable):
        yield key_of(ACCEPTED_CODEC.split(record.value)[1])


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() else -1
