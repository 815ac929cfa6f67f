"""im.messages → one record for each gateway that holds somebody who may see the message."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from infra.ports import Bus, Head, HistoryStore, Outgoing, Record, RouteTable
from infra.settings import Settings
from pipeline import metrics
from pipeline.app import group_of
from pipeline.batch import Batch
from pipeline.fanout.plan import FanoutPlan, address_large, address_small, plan_fanout
from pipeline.fanout.states import FanoutStates
from pipeline.source_order import SourceOrder
from schemas.codec import MESSAGE
from schemas.errors import Undecodable
from schemas.records import STATE_KINDS
from schemas.topics import MESSAGES

__all__ = ["Fanout"]


class Fanout:
    """`pipeline.batch.Stage`: locates everybody who may see a message, in one call per Redis shard a batch.

    Repeats: a restarted worker publishes some deliveries again; gateways drop them by source offset.
    Nothing is lost with Redis: what cannot be delivered now is found by sync.
    """

    name = "fanout"

    def __init__(self, settings: Settings, bus: Bus, history: HistoryStore, routes: RouteTable) -> None:
        self._threshold = settings.fanout_threshold_members
        self._bus = bus
        self._history = history
        self._routes = routes
        self._states: dict[int, FanoutStates] = {}
        self._order = SourceOrder()
        self._metrics = metrics.stage(self.name)

    async def startup(self) -> None:
        """Nothing is shared between partitions."""

    async def assign(self, partition: int, position: int) -> None:
        states = FanoutStates(self._history)
        stored = (await self._bus.committed(group_of("persistence"), MESSAGES)).get(partition, 0)

        def collect(records: Sequence[Record]) -> None:
            for record in records:
                with suppress(Undecodable):
                    if MESSAGE.peek(record.value).kind in STATE_KINDS:
                        states.note(record)

        await self._bus.read_range(MESSAGES, partition, min(stored, position), position, collect)
        self._order.forget(partition)
        self._states[partition] = states

    def revoke(self, partition: int) -> None:
        self._states.pop(partition, None)
        self._order.forget(partition)

    async def load(self, batch: Batch) -> None:
        keys = (record.key for record in batch.records if record.key is not None)
        await self._states[batch.partition].load({key.decode(errors="replace") for key in keys})

    def plan(self, batch: Batch) -> list[FanoutPlan]:
        states = self._states[batch.partition]
        plans = []
        repeats = 0
        for record in batch.records:
            try:
                routing = MESSAGE.peek(record.value)
                event = states.note(record) if routing.kind in STATE_KINDS else None
                state = states.before(_conversation_of(record), routing.seq)
            except Undecodable as error:
                batch.bury(record, error)
                continue
            batch.done_ms = max(batch.done_ms, routing.sent_at_ms)
            if self._order.is_repeat(batch.partition, routing.source_offset):
                repeats += 1
                continue
            assert record.value is not None
            plans.append(plan_fanout(routing, record.value, batch.partition, state, event, self._threshold))
        self._metrics.repeats(repeats)
        return plans

    async def perform(self, effects: list[FanoutPlan]) -> None:
        touched: dict[str, dict[str, int]] = {}
        heads: dict[str, Head] = {}
        for plan in effects:
            conversation_id, sent_at_ms = plan.conversation_id, plan.routing.sent_at_ms
            heads[conversation_id] = Head(plan.routing.seq, sent_at_ms)
            if not plan.large:
                for user_id in plan.users:
                    touched.setdefault(user_id, {})[conversation_id] = sent_at_ms
        gateways_of = await self._routes.index(touched, heads)
        out: list[Outgoing] = []
        for plan in effects:
            if plan.large:
                out.extend(await self._address_large(plan))
            else:
                out.extend(address_small(plan, gateways_of))
        await self._bus.publish(out)

    async def _address_large(self, plan: FanoutPlan) -> list[Outgoing]:
        conversation_id = plan.conversation_id
        gateways = set(await self._routes.readers(conversation_id) or ())
        members: Sequence[str] = ()
        if not gateways:
            members = self._states[plan.partition].members(conversation_id)
            gateways.update(await self._routes.fill_readers(conversation_id, members))
        if plan.joined:
            gateways.update(await self._routes.join_readers(conversation_id, plan.joined))
        if plan.left:
            gateways.update(await self._routes.leave_readers(conversation_id, plan.left))
        return address_large(plan, sorted(gateways), members)


def _conversation_of(record: Record) -> str:
    """The key names the conversation; raises `Undecodable` if there is none."""
    try:
        return (record.key or b"").decode()
    except UnicodeDecodeError as error:
        raise Undecodable("the key is no conversation id") from error
