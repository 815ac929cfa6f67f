"""im.messages → one record for each gateway that holds somebody who may see the message."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from infra.ports import Bus, HistoryStore, Outgoing, Record, RouteTable
from infra.settings import Settings
from infra.together import together
from pipeline.batch import Batch
from pipeline.fanout.plan import FanoutPlan, address_large, address_small, index_entries, plan_fanout
from pipeline.places import STEP_BACK_RECORDS, newest_source
from pipeline.source_order import SourceOrder
from pipeline.states import ConversationStates, by_seq
from pipeline.topology import group_of
from schemas.codec import MESSAGE
from schemas.conversation import GroupEvent, MemberEvent, parse_event
from schemas.errors import BadInput, ImError, Undecodable
from schemas.ids import conversation_kind
from schemas.records import STATE_KINDS, Routing
from schemas.tables import StoredEvent
from schemas.topics import MESSAGES

__all__ = ["Fanout", "Passing", "read_passing"]


class Passing(msgspec.Struct, frozen=True, gc=False):
    """A Message as fan-out sees it; `event` if it changes who is inside."""

    conversation_id: str
    routing: Routing
    value: bytes
    content: str = ""
    event: GroupEvent | MemberEvent | None = None

    @property
    def stored_event(self) -> StoredEvent:
        """As the history will hold it."""
        routing = self.routing
        return StoredEvent(routing.seq, routing.source_offset, routing.kind, self.content)


@dataclass(slots=True)
class _Partition:
    states: ConversationStates
    order: SourceOrder = field(default_factory=SourceOrder)
    batch: list[Passing | ImError] = field(default_factory=list)
    members: dict[str, Mapping[str, int] | None] = field(default_factory=dict)
    """Of each conversation that read-diffusion serves: who was inside at its first message of this batch, and
    since which seq; None while nothing has changed since."""


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
        self._partitions: dict[int, _Partition] = {}

    async def startup(self) -> None:
        """Nothing is shared between partitions."""

    async def assign(self, partition: int, position: int) -> None:
        here = _Partition(ConversationStates(self._history, by_seq))
        stored = (await self._bus.committed(group_of("persistence"), MESSAGES)).get(partition, 0)
        newest_input = -1

        def recall(records: Sequence[Record]) -> None:
            nonlocal newest_input
            for record in records:
                passing = read_passing(record, here.states)
                if isinstance(passing, Passing):
                    newest_input = max(newest_input, passing.routing.source_offset)
                    if passing.event is not None:
                        here.states.recall(passing.conversation_id, passing.stored_event)

        # What a sequencing worker that woke up late repeats beyond would be shown to who has joined since.
        start, unstored = position - STEP_BACK_RECORDS, min(stored, position)
        newest_stored, _ = await together(
            newest_source(self._bus, MESSAGES, partition, start, unstored, _glance, _source_of_passing),
            self._bus.read_range(MESSAGES, partition, unstored, position, recall),
        )
        here.order.resume(partition, max(newest_stored, newest_input))
        self._partitions[partition] = here

    def revoke(self, partition: int) -> None:
        self._partitions.pop(partition, None)

    async def load(self, batch: Batch) -> None:
        here = self._partitions[batch.partition]
        here.batch = [read_passing(record, here.states) for record in batch.records]
        first: dict[str, int] = {}
        for passing in here.batch:
            if isinstance(passing, Passing):
                first.setdefault(passing.conversation_id, passing.routing.seq)
        await here.states.load(first)

    def plan(self, batch: Batch) -> list[FanoutPlan]:
        here = self._partitions[batch.partition]
        here.members.clear()
        plans = []
        for record, passing in zip(batch.records, here.batch, strict=True):
            if isinstance(passing, ImError):
                batch.bury(record, passing)
                continue
            routing = passing.routing
            batch.done_ms = max(batch.done_ms, routing.sent_at_ms)
            if here.order.is_repeat(batch.partition, routing.source_offset):
                batch.repeats += 1
                continue
            state = here.states[passing.conversation_id]
            if passing.event is not None and here.members.get(passing.conversation_id, ()) is None:
                here.members[passing.conversation_id] = state.joined()
            plan = plan_fanout(routing, passing.value, batch.partition, state, passing.event, self._threshold)
            if plan.large:
                here.members.setdefault(passing.conversation_id, None)
            if record.offset in batch.trace:
                plan = msgspec.structs.replace(plan, headers=batch.trace[record.offset])
            plans.append(plan)
            if passing.event is not None:
                here.states.changed(passing.conversation_id)
        return plans

    async def perform(self, effects: list[FanoutPlan]) -> None:
        touched, heads = index_entries(effects)
        gateways_of = await self._routes.index(touched, heads)
        out: list[Outgoing] = []
        readers: dict[str, set[str]] = {}
        for plan in effects:
            if plan.large:
                out.extend(await self._address_large(plan, readers))
            else:
                out.extend(address_small(plan, gateways_of))
        await self._bus.publish(out)

    async def _address_large(self, plan: FanoutPlan, known: dict[str, set[str]]) -> list[Outgoing]:
        """Asks once a batch for the gateways of a conversation; `known` keeps the answers."""
        conversation_id = plan.conversation_id
        members: Mapping[str, int] = {}
        if conversation_id not in known:
            found = await self._routes.readers(conversation_id)
            if found is None:
                members = self._members_at_first(plan)
                found = await self._routes.fill_readers(conversation_id, members)
            known[conversation_id] = set(found)
        gateways = known[conversation_id]
        if plan.joined:
            gateways.update(await self._routes.join_readers(conversation_id, plan.joined, plan.routing.seq))
        if plan.left:
            gateways.update(await self._routes.leave_readers(conversation_id, plan.left, plan.routing.seq))
        return address_large(plan, sorted(gateways), members)

    def _members_at_first(self, plan: FanoutPlan) -> Mapping[str, int]:
        """Who was inside at the first message of this batch: who joins later in it sees none before."""
        here = self._partitions[plan.partition]
        members = here.members[plan.conversation_id]
        return here.states[plan.conversation_id].joined() if members is None else members


def read_passing(record: Record, known: Container[str]) -> Passing | ImError:
    """What a record asks of fan-out; the ids of `known` conversations were checked before."""
    try:
        conversation_id = (record.key or b"").decode()
        if conversation_id not in known:
            conversation_kind(conversation_id)
        routing = MESSAGE.peek(record.value)
        assert record.value is not None
        if routing.kind not in STATE_KINDS:
            return Passing(conversation_id, routing, record.value)
        content = MESSAGE.decode(record.value).content
        return Passing(conversation_id, routing, record.value, content, parse_event(routing.kind, content))
    except (Undecodable, BadInput) as error:
        return error
    except UnicodeDecodeError as error:
        return Undecodable(f"the key is no conversation id: {error}")


def _glance(record: Record) -> int:
    return MESSAGE.numbers(record.value)["source_offset"]


def _source_of_passing(record: Record) -> int:
    passing = read_passing(record, ())
    if isinstance(passing, ImError):
        raise Undecodable(str(passing)) from passing
    return passing.routing.source_offset
