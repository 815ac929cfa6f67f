"""Gathers what is known of one message: its id holds the time, its conversation gives the partition."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from infra.ports import Record
from infra.together import look_up
from pipeline.ops.accounts.arrival import Said, Standing, arrival_of
from pipeline.ops.accounts.audit import ack_grace_ms
from pipeline.ops.accounts.deliveries import folded
from pipeline.ops.traces.search import CLOCKS_MS, SCAN_RECORDS, find_all, find_made_of
from pipeline.ops.traces.trace import Evidence, Sending
from pipeline.topology import Doors, group_of
from schemas.codec import ACCEPTED as ACCEPTED_CODEC
from schemas.codec import DECISION, INBOUND, MESSAGE, OUTBOUND, RECEIPT
from schemas.conversation import ConversationState, Member
from schemas.errors import BadInput, Unavailable, Undecodable
from schemas.ids import conversation_kind, is_name, time_of_message_id_ms
from schemas.records import Inbound, Message
from schemas.tables import Cursor
from schemas.topics import ACCEPTED, DEAD_LETTERS, MESSAGES, MODERATION, RECEIPTS, outbound_topic
from schemas.topics import INBOUND as INBOUND_TOPIC

__all__ = ["MEMBERS", "gather"]

_MESSAGE_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MEMBERS: Final = 200
"""So many members are asked about; `to` asks about one of any number."""
_PUBLISH_MS: Final = 15_000
"""From the making of the id to the record: the gateway gives the log 10 s."""
_LIKELY_MS: Final = 300
_SOON_MS: Final = 2_000
_REPEAT_RECORDS: Final = 400_000
"""How much of im.messages is read for the first place of a repeat: two minutes at 3,300 a second."""
_ACK_RECORDS: Final = 50_000


async def gather(
    doors: Doors, message_id: str, conversation_id: str | None = None, to: str | None = None
) -> Evidence:
    """All there is about a message. Raises `BadInput` for what is no id, `Unavailable`."""
    if not _MESSAGE_ID.fullmatch(message_id):
        raise BadInput(f"{message_id!r} is no message id: `sent` and `deliver` name it")
    found = Evidence(message_id=message_id, made_at_ms=time_of_message_id_ms(message_id))
    if conversation_id is not None:
        conversation_kind(conversation_id)
    if to is not None and not is_name(to):
        raise BadInput("a user id is [A-Za-z0-9._-]{1,64}")
    search = _Search(doors, found)
    await search.find_inbound(conversation_id)
    if found.inbound is not None and found.asked is not None:
        await search.find_decision()
        await search.find_message()
        await search.find_letters()
        await search.find_what_waits()
    if found.sent is not None:
        await search.find_row()
        await asyncio.gather(search.find_arrivals(to), search.find_sendings())
    return found


class _Search:
    """One search; each step fills in more of the evidence."""

    def __init__(self, doors: Doors, found: Evidence) -> None:
        self._bus = doors.bus
        self._history = doors.history
        self._routes = doors.routes
        self._settings = doors.settings
        self._now_ms = doors.clock.now_ms()
        self._found = found
        self._partition = 0

    async def find_inbound(self, conversation_id: str | None) -> None:
        """All partitions side by side, unless the conversation is known; the likely moment first."""
        if conversation_id is not None:
            partitions = [self._bus.partition_for(conversation_id)]
        else:
            partitions = sorted(await self._bus.ends(INBOUND_TOPIC))
        message_id, made_ms = self._found.message_id, self._found.made_at_ms
        for since_ms, until_ms in (
            (made_ms, made_ms + _LIKELY_MS),
            (made_ms - CLOCKS_MS, made_ms + _SOON_MS),
            (made_ms - CLOCKS_MS, made_ms + _PUBLISH_MS),
        ):
            looks = [
                find_all(
                    self._bus,
                    INBOUND_TOPIC,
                    partition,
                    since_ms,
                    lambda record: _asked_in(record, message_id) is not None,
                    until_ms=until_ms,
                    records=10 * SCAN_RECORDS,
                    first_only=True,
                )
                for partition in partitions
            ]
            for record in [record for records in await asyncio.gather(*looks) for record in records]:
                self._found.inbound, self._found.asked = record, _asked_in(record, message_id)
                self._partition = record.partition
                return

    async def find_decision(self) -> None:
        inbound = self._found.inbound
        assert inbound is not None
        here, since_ms, wanted = self._partition, inbound.timestamp_ms, inbound.offset
        accepted, decisions = await asyncio.gather(
            find_made_of(self._bus, ACCEPTED, here, since_ms, wanted, _source_of_accepted),
            find_made_of(self._bus, MODERATION, here, since_ms, wanted, _source_of_decision),
        )
        if accepted:
            self._found.accepted = accepted[0]
        if decisions:
            self._found.decision, self._found.decided = decisions[0], DECISION.decode(decisions[0].value)

    async def find_message(self) -> None:
        accepted, asked = self._found.accepted, self._found.asked
        if accepted is None or asked is None:
            return
        since_ms = min(accepted.timestamp_ms, self._found.inbound.timestamp_ms if self._found.inbound else 0)
        made = await find_made_of(
            self._bus, MESSAGES, self._partition, since_ms, accepted.offset, _source_of_message
        )
        if made:
            self._found.message, self._found.sent = made[0], MESSAGE.decode(made[0].value)
            return
        self._found.first = await self._first_place(accepted)

    async def _first_place(self, accepted: Record) -> Message | None:
        """The message that has this one's client_msg_id, inside the dedupe window before it."""
        asked = self._found.asked
        assert asked is not None
        wanted = (asked.sender, asked.client_msg_id)
        window_ms = self._settings.dedupe_window_s * 1000
        key = asked.conversation_id.encode()
        records = await find_all(
            self._bus,
            MESSAGES,
            self._partition,
            accepted.timestamp_ms - window_ms - CLOCKS_MS,
            lambda record: record.key == key and asked.client_msg_id.encode() in (record.value or b""),
            until_ms=accepted.timestamp_ms + CLOCKS_MS,
            records=_REPEAT_RECORDS,
        )
        for record in reversed(records):
            with suppress(Undecodable):
                message = MESSAGE.decode(record.value)
                if (message.sender, message.client_msg_id) == wanted:
                    return message
        return None

    async def find_letters(self) -> None:
        places = {
            (record.topic, str(record.partition), str(record.offset))
            for record in (self._found.inbound, self._found.accepted, self._found.message)
            if record is not None
        }
        letters = await find_all(
            self._bus,
            DEAD_LETTERS,
            0,
            self._found.made_at_ms - CLOCKS_MS,
            lambda record: _origin(record) in places,
        )
        self._found.letters = [
            (_header(letter, "im-stage"), _header(letter, "__streams.errors.message")) for letter in letters
        ]

    async def find_what_waits(self) -> None:
        """The first stage of the path that has not committed past the message."""
        for stage, record in (
            ("moderation", self._found.inbound),
            ("sequencing", self._found.accepted),
            ("persistence", self._found.message),
        ):
            if record is None:
                continue
            committed = await self._bus.committed(group_of(stage), record.topic)
            if committed.get(record.partition, 0) <= record.offset:
                self._found.waits_for = stage
                return

    async def find_row(self) -> None:
        sent = self._found.sent
        assert sent is not None
        rows = await self._history.page(sent.conversation_id, before_seq=sent.seq + 1, limit=1)
        if rows and rows[0].seq == sent.seq and rows[0].message_id == sent.message_id:
            self._found.row = rows[0]

    # Who got it

    async def find_arrivals(self, to: str | None) -> None:
        sent = self._found.sent
        assert sent is not None
        state = (await folded(self._history, [sent.conversation_id]))[sent.conversation_id]
        users = [to] if to is not None else _concerned(state, sent.seq)
        self._found.unlisted = max(0, len(users) - MEMBERS)
        users = users[:MEMBERS]
        acked = await self._acked(sent)
        routes = await self._routes.routes_of(users)
        cursors: Mapping[str, Mapping[str, Cursor]] = await look_up(users, self._history.cursors)
        said = Said(sent.seq, sent.sender, sent.sent_at_ms)
        self._found.arrivals = [
            arrival_of(said, standing, self._now_ms, ack_grace_ms(self._settings))
            for standing in (
                Standing(
                    user_id,
                    state.members.get(user_id, Member()),
                    cursors[user_id].get(sent.conversation_id, Cursor()),
                    routes.get(user_id, ()),
                    acked.get(user_id, 0),
                )
                for user_id in users
            )
        ]

    async def _acked(self, sent: Message) -> dict[str, int]:
        """When each user first acked this message or a later one, as far as im.receipts is read."""
        key = sent.conversation_id.encode()
        records = await find_all(
            self._bus,
            RECEIPTS,
            self._partition,
            sent.sent_at_ms - CLOCKS_MS,
            lambda record: record.key == key,
            records=_ACK_RECORDS,
        )
        acked: dict[str, int] = {}
        for record in records:
            with suppress(Undecodable):
                receipt = RECEIPT.decode(record.value)
                if max(receipt.delivered_seq, receipt.read_seq) >= sent.seq:
                    acked.setdefault(receipt.user_id, receipt.at_ms)
        return acked

    async def find_sendings(self) -> None:
        """The fan-out records, on the topics of every gateway that is alive or that the message came by."""
        sent = self._found.sent
        assert sent is not None
        gateways = sorted({sent.gateway_id, *await self._routes.live_gateways()})
        looks = await asyncio.gather(*(self._sent_to(gateway_id, sent) for gateway_id in gateways))
        self._found.sendings = [sending for sending in looks if sending is not None]

    async def _sent_to(self, gateway_id: str, sent: Message) -> Sending | None:
        name = sent.message_id.encode()
        with suppress(Unavailable):  # its topic is gone with the gateway
            records = await find_all(
                self._bus,
                outbound_topic(gateway_id).name,
                0,
                sent.sent_at_ms - CLOCKS_MS,
                lambda record: name in (record.value or b""),
                first_only=True,
                records=3 * SCAN_RECORDS,
            )
            for record in records:
                with suppress(Undecodable):
                    outbound = OUTBOUND.decode(record.value)
                    place = (outbound.source_partition, outbound.source_offset)
                    if outbound.kind == "message" and place == (self._partition, sent.source_offset):
                        return Sending(gateway_id, record, outbound)
        return None


def _asked_in(record: Record, message_id: str) -> Inbound | None:
    """The Inbound of this id; looked for in the bytes first: that is quicker than decoding."""
    if message_id.encode() in (record.value or b""):
        with suppress(Undecodable):
            asked = INBOUND.decode(record.value)
            if asked.message_id == message_id:
                return asked
    return None


def _concerned(state: ConversationState, seq: int) -> list[str]:
    """Who was to get it, then everybody else who is or was a member."""
    return sorted(state.members, key=lambda user_id: not state.members[user_id].saw(seq))


def _source_of_accepted(record: Record) -> int:
    return ACCEPTED_CODEC.leading(record.value)


def _source_of_message(record: Record) -> int:
    return MESSAGE.numbers(record.value)["source_offset"]


def _source_of_decision(record: Record) -> int:
    return DECISION.leading(record.value)


def _header(record: Record, name: str) -> str:
    return dict(record.headers).get(name, b"").decode(errors="replace")


def _origin(record: Record) -> tuple[str, str, str]:
    names: Sequence[str] = ("topic", "partition", "offset")
    topic, partition, offset = (_header(record, f"__streams.errors.{name}") for name in names)
    return topic, partition, offset
