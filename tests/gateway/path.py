"""The pipeline's part in gateway tests: gives each Inbound a seq, stores it, and hands it to the gateways."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

from infra.clock import Clock
from infra.memory.bus import MemoryBus
from infra.memory.history import MemoryHistory
from infra.memory.routes import MemoryRouteTable
from infra.ports import Head, Outgoing, Record, Subscription
from schemas.codec import INBOUND, MESSAGE, OUTBOUND
from schemas.conversation import ConversationState, parse_event
from schemas.errors import Refused
from schemas.frames import JSON, Rejected
from schemas.records import STATE_KINDS, Inbound, Message, Outbound
from schemas.tables import BUCKET_SIZE, BucketRow, EventRow, MembershipRow, MessageRow, Row, bucket_of
from schemas.topics import INBOUND as INBOUND_TOPIC
from schemas.topics import outbound_topic

__all__ = ["Path", "settle"]

Judge = Callable[[Inbound], Refused | None]


class Path:
    """Everything between a gateway's uplink and its downlink, in a few lines: no retries, no restarts."""

    def __init__(
        self, bus: MemoryBus, routes: MemoryRouteTable, history: MemoryHistory, clock: Clock, partitions: int
    ) -> None:
        self.bus = bus
        self.routes = routes
        self.history = history
        self.clock = clock
        self.partitions = partitions
        self.judge: Judge = lambda _: None
        self.large = False
        """Whether groups are fanned out by reading: one record for each gateway, expanded there."""
        self.states: dict[str, ConversationState] = {}
        self._seqs: dict[str, int] = defaultdict(int)
        self._offset = 0

    async def run(self) -> None:
        subscription: Subscription = await self.bus.subscribe_end(INBOUND_TOPIC)
        await self.mark()
        while True:
            for record in await subscription.next_records(0.2):
                await self.handle(record)
            await self.mark()

    async def mark(self) -> None:
        """Everything up to now is handled."""
        now_ms = self.clock.now_ms()
        for stage in ("fanout", "persistence"):
            await self.routes.set_watermarks(stage, dict.fromkeys(range(self.partitions), now_ms))

    async def handle(self, record: Record) -> None:
        inbound = INBOUND.decode(record.value)
        refused = self.judge(inbound)
        if refused is not None:
            await self.reject(inbound, refused)
            return
        await self.sequence(inbound)

    async def sequence(self, inbound: Inbound) -> Message:
        """The next message of its conversation, stored, indexed and on its way to the gateways."""
        conversation_id = inbound.conversation_id
        state = self.states.setdefault(conversation_id, ConversationState.new(conversation_id))
        before = state.inside()
        self._seqs[conversation_id] += 1
        seq = self._seqs[conversation_id]
        message = Message(
            seq,
            self._offset,
            self.clock.now_ms(),
            **{f: getattr(inbound, f) for f in Inbound.__struct_fields__},
        )
        self._offset += 1
        if inbound.kind in STATE_KINDS:
            state.apply(parse_event(inbound.kind, inbound.content), seq)
        members = list(dict.fromkeys([*state.inside(), *before, inbound.sender]))
        await self.history.write(_rows(message, state, before))
        await self._fan_out(message, members, state)
        return message

    async def _fan_out(self, message: Message, members: list[str], state: ConversationState) -> None:
        conversation_id = message.conversation_id
        touched = {user: {conversation_id: message.sent_at_ms} for user in members}
        head = {conversation_id: Head(message.seq, message.sent_at_ms)}
        if self.large and state.kind != "direct":
            await self._expand(message, members, head)
            return
        gateways: dict[str, list[str]] = {message.gateway_id: []}
        for user, where in (await self.routes.index(touched, head)).items():
            for gateway_id in where:
                gateways.setdefault(gateway_id, []).append(user)
        await self._publish(message, gateways, expand=False)

    async def _expand(self, message: Message, members: list[str], head: dict[str, Head]) -> None:
        await self.routes.index({}, head)
        conversation_id = message.conversation_id
        state = self.states[conversation_id]
        left = [user_id for user_id in members if not state.is_member(user_id)]
        readers = [
            *await self.routes.fill_readers(conversation_id, state.joined()),
            *await self.routes.leave_readers(conversation_id, left, message.seq),
        ]
        await self._publish(
            message, {g: [message.sender] for g in {*readers, message.gateway_id}}, expand=True
        )

    async def _publish(self, message: Message, gateways: dict[str, list[str]], expand: bool) -> None:
        body = MESSAGE.encode(message)
        await self.bus.publish(
            [
                _to(gateway_id, Outbound("message", body, users, 0, message.source_offset, expand))
                for gateway_id, users in gateways.items()
            ]
        )

    async def reject(self, inbound: Inbound, refused: Refused) -> None:
        code = refused.code
        frame = Rejected(
            client_msg_id=inbound.client_msg_id,
            conversation_id=inbound.conversation_id,
            code=int(code),
            name=code.wire_name,
            message=refused.message,
            temporary=code.temporary,
        )
        outbound = Outbound("frame", JSON.encode(frame), [inbound.sender], session_id=inbound.session_id)
        await self.bus.publish([_to(inbound.gateway_id, outbound)])


def _to(gateway_id: str, outbound: Outbound) -> Outgoing:
    return Outgoing(outbound_topic(gateway_id).name, 0, OUTBOUND.encode(outbound))


def _rows(message: Message, state: ConversationState, before: list[str]) -> list[Row]:
    rows: list[Row] = []
    conversation_id, seq = message.conversation_id, message.seq
    if message.kind in STATE_KINDS:
        rows.append(
            EventRow(
                conversation_id, seq, message.source_offset, message.kind, message.content, message.sent_at_ms
            )
        )
    if (seq - 1) % BUCKET_SIZE == 0:
        rows.append(BucketRow(conversation_id, bucket_of(seq), seq, message.sent_at_ms))
    inside = state.inside()
    if seq == 1 or message.kind in STATE_KINDS:
        rows += [MembershipRow(u, conversation_id, seq, True) for u in inside if u not in before or seq == 1]
        rows += [MembershipRow(u, conversation_id, seq, False) for u in before if u not in inside]
    rows.append(
        MessageRow(
            conversation_id,
            seq,
            message.message_id,
            message.sender,
            message.client_msg_id,
            message.kind,
            message.content,
            message.sent_at_ms,
            message.quote_seq,
            message.mentions,
        )
    )
    return rows


async def settle(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return as soon as the condition holds; fails the test after half a minute."""
    for _ in range(6_000):
        holds = condition()
        if holds if isinstance(holds, bool) else await holds:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the condition never held")
