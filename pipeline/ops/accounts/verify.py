"""`im verify`: the whole join over a stretch of time; each message that is missing or double by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from infra.ports import Record
from infra.together import look_up
from pipeline.ops.accounts.arrival import Said
from pipeline.ops.accounts.audit import Result, ack_grace_ms, books_of, results_of
from pipeline.ops.accounts.contents import Uses, differences
from pipeline.ops.accounts.deliveries import Deliveries
from pipeline.ops.accounts.findings import MAX_FINDINGS, Finding, place_of
from pipeline.ops.accounts.ledger import Ledger
from pipeline.ops.accounts.ledger_reader import (
    READ_RECORDS,
    DeadLetters,
    LedgerReader,
    Marks,
    fetch,
    read_marks,
)
from pipeline.source_order import SourceOrder
from pipeline.topology import Doors
from schemas.codec import ACCEPTED as ACCEPTED_CODEC
from schemas.codec import INBOUND as INBOUND_CODEC
from schemas.codec import MESSAGE
from schemas.errors import Undecodable
from schemas.ids import conversation_kind
from schemas.records import Inbound, Message
from schemas.tables import HistoryRow
from schemas.topics import ACCEPTED, DEAD_LETTERS, INBOUND, MESSAGES

__all__ = ["Verification", "verify"]

MEMBERS: Final = 10_000
"""Deliveries that one verification asks about; what is beyond is counted as unchecked."""
_PAGE: Final = 1_000


class Verification(msgspec.Struct, frozen=True):
    """What was compared, and every finding (at most `MAX_FINDINGS`)."""

    since_ms: int
    until_ms: int
    conversations: int
    results: dict[Result, int]
    in_flight: int
    findings: list[Finding]


async def verify(doors: Doors, since_ms: int, until_ms: int, conversation_id: str | None) -> Verification:
    """Join log, history and cursors for what was accepted, placed and stored in this time.

    Reads beside the groups; a message that a stage has not committed is in flight, not missing.
    Raises `BadInput` for a bad conversation, `Unavailable`.
    """
    if conversation_id is not None:
        conversation_kind(conversation_id)
    verifier = _Verifier(doors, since_ms, until_ms, conversation_id)
    marks = await read_marks(doors.bus)
    wanted = [doors.bus.partition_for(conversation_id)] if conversation_id is not None else sorted(marks)
    for partition in wanted:
        await verifier.join(partition, marks[partition])
        await verifier.compare(partition, marks[partition])
    await verifier.check_deliveries()
    return verifier.result


class _Verifier:
    """One verification, partition after partition."""

    def __init__(self, doors: Doors, since_ms: int, until_ms: int, conversation_id: str | None) -> None:
        self._doors = doors
        self._bus = doors.bus
        self._since_ms = since_ms
        self._until_ms = until_ms
        self._only = conversation_id
        self._window_ms = doors.settings.dedupe_window_s * 1000
        self._findings: list[Finding] = []
        self._results: Counter[Result] = Counter()
        self._in_flight = 0
        self._heads: dict[str, Said] = {}

    @property
    def result(self) -> Verification:
        return Verification(
            self._since_ms,
            self._until_ms,
            len(self._heads),
            dict(self._results),
            self._in_flight,
            self._findings[:MAX_FINDINGS],
        )

    # The books

    async def join(self, partition: int, marks: Marks) -> None:
        """Every offset of the time has its outcome."""
        due = msgspec.structs.replace(
            marks,
            inbound=min(marks.inbound, await self._end(INBOUND, partition)),
            accepted=min(marks.accepted, await self._end(ACCEPTED, partition)),
            messages=min(marks.messages, await self._end(MESSAGES, partition)),
        )
        reader = LedgerReader(self._bus, self._doors.history, partition, self._window_ms)
        await reader.open(self._since_ms, looks=1)
        letters = await self._bus.offsets_at(DEAD_LETTERS, 0, self._since_ms)
        await DeadLetters(self._bus, letters).look({partition: reader.ledger})
        while True:
            await reader.look(due)
            if reader.is_level(due) or _is_closed(reader.ledger, due):
                break
        findings, _ = books_of(reader.ledger)
        self._keep([await self._named(partition, finding) for finding in findings])
        self._results.update(results_of(reader.ledger))
        self._in_flight += marks.in_flight

    async def _named(self, partition: int, finding: Finding) -> Finding:
        """A finding with the message it speaks of, read from its place; of a hole there is none to read."""
        if finding.between == "accepted-message" and finding.what == "missing" and finding.seq:
            return finding
        topic, _, rest = finding.place.partition("[")
        offset = int(rest.partition("@")[2])
        for record in await fetch(self._bus, topic, partition, offset, offset + 1):
            with suppress(Undecodable):
                said = _said_in(record)
                return msgspec.structs.replace(
                    finding, message_id=said.message_id, conversation_id=said.conversation_id
                )
        return finding

    # Log and history

    async def compare(self, partition: int, marks: Marks) -> None:
        """Every row is what its message says, and no message stands twice."""
        position = await self._bus.offsets_at(MESSAGES, partition, self._since_ms)
        until = min(marks.messages, await self._end(MESSAGES, partition))
        order, uses = SourceOrder(), Uses(self._window_ms)
        while position < until:
            stop = min(until, position + READ_RECORDS)
            records = await fetch(self._bus, MESSAGES, partition, position, stop)
            messages = {record.offset: message for record, message in _messages(records, order)}
            for message, first in uses.doubles(messages.values()):
                self._double(partition, message, first, messages)
            await self._compare(partition, messages)
            position = stop

    def _double(self, partition: int, message: Message, first: int, messages: Mapping[int, Message]) -> None:
        offset = next(offset for offset, other in messages.items() if other is message)
        text = f"the same client_msg_id has seq {first}"
        self._keep([_finding("double", partition, offset, message, text)])

    async def _compare(self, partition: int, messages: Mapping[int, Message]) -> None:
        by_conversation: dict[str, dict[int, int]] = {}
        for offset, message in messages.items():
            if self._only in (None, message.conversation_id):
                by_conversation.setdefault(message.conversation_id, {})[message.seq] = offset
                self._note_head(message)

        async def rows(conversation_id: str) -> dict[int, HistoryRow]:
            return await self._rows(conversation_id, by_conversation[conversation_id])

        for conversation_id, found in (await look_up(by_conversation, rows)).items():
            offsets = by_conversation[conversation_id]
            for seq, row in found.items():
                if seq not in offsets:
                    continue
                different = differences(messages[offsets[seq]], row)
                if different:
                    text = f"log and history differ in {', '.join(different)}"
                    place = offsets[seq]
                    self._keep([_finding("differs", partition, place, messages[place], text)])

    async def _rows(self, conversation_id: str, seqs: Mapping[int, int]) -> dict[int, HistoryRow]:
        """The rows from the lowest to the highest of these seqs."""
        found: dict[int, HistoryRow] = {}
        after, last = min(seqs) - 1, max(seqs)
        while after < last:
            limit = min(_PAGE, last - after)
            page = await self._doors.history.page(conversation_id, after_seq=after, limit=limit)
            found |= {row.seq: row for row in page if row.seq <= last}
            if len(page) < limit:
                break
            after = page[-1].seq
        return found

    # Members

    def _note_head(self, message: Message) -> None:
        self._heads[message.conversation_id] = Said(message.seq, message.sender, message.sent_at_ms)

    async def check_deliveries(self) -> None:
        """Connected members have acked, and no cursor is beyond what was said."""
        grace_ms, now_ms = ack_grace_ms(self._doors.settings), self._doors.clock.now_ms()
        deliveries = Deliveries(self._doors.history, self._doors.routes, grace_ms)
        found, unchecked = await deliveries.check(self._heads, now_ms, MEMBERS)
        self._results["unchecked"] += unchecked
        newest = await look_up({delivery.conversation_id for delivery in found}, self._doors.history.head)
        for delivery in found:
            arrival = delivery.arrival
            head = newest[delivery.conversation_id]
            self._results["waiting" if arrival.state in ("waiting", "unacked") else "delivered"] += 1
            wrong = ""
            if arrival.state == "overdue":
                wrong = f"{arrival.user_id}: {arrival.text}"
            elif head is not None and arrival.cursor > head.seq:
                wrong = f"{arrival.user_id} has acked seq {arrival.cursor}, the newest is {head.seq}"
            if wrong:
                self._keep([
                    Finding(
                        between="row-delivery",
                        what="missing" if arrival.state == "overdue" else "differs",
                        place=f"{delivery.conversation_id}#{delivery.seq}",
                        text=wrong,
                        conversation_id=delivery.conversation_id,
                        seq=delivery.seq,
                        user_id=arrival.user_id,
                    )
                ])  # fmt: skip

    def _keep(self, findings: Sequence[Finding]) -> None:
        self._findings += [f for f in findings if self._only in (None, f.conversation_id)]

    async def _end(self, topic: str, partition: int) -> int:
        return await self._bus.offsets_at(topic, partition, self._until_ms)


def _is_closed(ledger: Ledger, due: Marks) -> bool:
    """Whether everything up to these marks has been settled."""
    return (
        ledger.decided.settled >= due.inbound
        and ledger.placed.settled >= due.accepted
        and ledger.stored.settled >= due.messages
    )


def _messages(records: Sequence[Record], order: SourceOrder) -> list[tuple[Record, Message]]:
    """What the readers of im.messages take of these."""
    taken = []
    for record in records:
        with suppress(Undecodable):
            message = MESSAGE.decode(record.value)
            if not order.is_repeat(record.partition, message.source_offset):
                taken.append((record, message))
    return taken


def _said_in(record: Record) -> Inbound | Message:
    """What a record of the path says, whichever topic it is from. Raises `Undecodable`."""
    if record.topic == INBOUND:
        return INBOUND_CODEC.decode(record.value)
    if record.topic == ACCEPTED:
        return ACCEPTED_CODEC.split(record.value)[1]
    return MESSAGE.decode(record.value)


def _finding(what: str, partition: int, offset: int, message: Message, text: str) -> Finding:
    return Finding(
        between="accepted-message" if what == "double" else "message-row",
        what="double" if what == "double" else "differs",
        place=place_of(MESSAGES, partition, offset),
        text=text,
        conversation_id=message.conversation_id,
        seq=message.seq,
        message_id=message.message_id,
    )
