"""Making a plan: which offsets, and what replaying them would touch."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from infra.ports import Record
from infra.together import look_up
from pipeline.ops.replay.patience import patiently
from pipeline.ops.replay.plan import Counts, Plan, Range, ReplayStage
from pipeline.persistence.rows import rows_of
from pipeline.topology import Doors
from schemas.codec import MESSAGE
from schemas.errors import BadInput, Undecodable
from schemas.ids import conversation_kind, new_name
from schemas.records import Message
from schemas.topics import MESSAGES

__all__ = ["Request", "everything", "make_plan"]

_SAMPLE: Final = 500


class Request(msgspec.Struct, frozen=True):
    """What an operator asks for; what is not said means all."""

    stage: ReplayStage
    from_ms: int | None = None
    to_ms: int | None = None
    partition: int | None = None
    from_offset: int | None = None
    to_offset: int | None = None
    """Offsets need a partition."""
    conversations: Sequence[str] = ()
    users: Sequence[str] = ()
    """Every conversation these are or were in."""
    rate: int = 20_000
    keyspace: str = ""
    out: str = ""


def everything(stage: ReplayStage, keyspace: str) -> Request:
    """The whole log, as fast as it goes."""
    return Request(stage, keyspace=keyspace, rate=0)


async def make_plan(
    doors: Doors, request: Request, actor: str, report: Callable[[int, int], None] = lambda *_: None
) -> Plan:
    """Fix the offsets and measure the blast radius by reading them once; `report(done, of)` meanwhile.

    Changes nothing. Raises `BadInput` for a request that cannot be meant, `Unavailable`.
    """
    conversations = await _conversations(doors, request)
    ranges = await _ranges(doors, request, conversations)
    plan = Plan(
        plan_id=f"replay-{new_name()[-8:]}",
        created_ms=doors.clock.now_ms(),
        created_by=actor,
        stage=request.stage,
        topic=MESSAGES,
        partitions=len(await doors.bus.ends(MESSAGES)),
        schema_id=MESSAGE.schema_id,
        ranges=ranges,
        conversations=sorted(conversations),
        rate=request.rate,
        keyspace=request.keyspace or doors.settings.keyspace,
        out=request.out,
        counts=Counts(),
    )
    return msgspec.structs.replace(plan, counts=await _measure(doors, plan, report))


async def _conversations(doors: Doors, request: Request) -> set[str]:
    wanted = set(request.conversations)
    for conversation_id in wanted:
        conversation_kind(conversation_id)
    for user_id in request.users:
        wanted |= {membership.conversation_id for membership in await doors.history.conversations(user_id)}
    if not wanted and (request.conversations or request.users):
        raise BadInput("these users are in no conversation")
    return wanted


async def _ranges(doors: Doors, request: Request, conversations: set[str]) -> list[Range]:
    """The partitions that are meant, each from the later of its bounds to the earlier ones."""
    if request.partition is None and (request.from_offset is not None or request.to_offset is not None):
        raise BadInput("offsets are those of one partition: name it")
    beginnings, ends = await doors.bus.beginnings(MESSAGES), await doors.bus.ends(MESSAGES)
    if request.partition is not None and request.partition not in ends:
        raise BadInput(f"{MESSAGES} has no partition {request.partition}")
    partitions = set(ends) if request.partition is None else {request.partition}
    if conversations:
        partitions &= {doors.bus.partition_for(conversation_id) for conversation_id in conversations}
    ranges = []
    for partition in sorted(partitions):
        start, end = beginnings[partition], ends[partition]
        if request.from_ms is not None:
            start = max(start, await doors.bus.offsets_at(MESSAGES, partition, request.from_ms))
        if request.to_ms is not None:
            end = min(end, await doors.bus.offsets_at(MESSAGES, partition, request.to_ms))
        start = max(start, request.from_offset or 0)
        end = min(end, request.to_offset if request.to_offset is not None else end)
        if start < end:
            ranges.append(Range(partition, start, end))
    return ranges


class _Census:
    """Counts what a scan finds, and keeps a fair sample of it."""

    def __init__(self, seed: str) -> None:
        self.records = self.selected = self.selected_bytes = 0
        self.keys: set[bytes | None] = set()
        self.sample: list[Record] = []
        self._random = random.Random(seed)

    def take(self, read: int, selected: Sequence[Record]) -> None:
        self.records += read
        for record in selected:
            self.selected += 1
            self.selected_bytes += len(record.value or b"")
            self.keys.add(record.key)
            if len(self.sample) < _SAMPLE:
                self.sample.append(record)
            elif (place := self._random.randrange(self.selected)) < _SAMPLE:
                self.sample[place] = record


async def _measure(doors: Doors, plan: Plan, report: Callable[[int, int], None]) -> Counts:
    census = _Census(plan.plan_id)
    selection = plan.selection()
    total = sum(range_.end - range_.start for range_ in plan.ranges)
    for range_ in plan.ranges:
        async with doors.bus.scan(plan.topic, range_.partition, range_.start, range_.end) as runs:
            async for records in runs:
                census.take(len(records), selection(records))
                report(census.records, total)
    messages: list[Message] = []
    rows = 0
    for record in census.sample:
        with suppress(Undecodable):
            message = MESSAGE.decode(record.value)
            rows += len(rows_of(message))
            messages.append(message)
    return Counts(
        records=census.records,
        selected=census.selected,
        selected_bytes=census.selected_bytes,
        conversations=len(census.keys),
        sampled=len(census.sample),
        undecodable=len(census.sample) - len(messages),
        rows=rows,
        repeats=await _repeats(doors, plan, messages),
    )


async def _repeats(doors: Doors, plan: Plan, messages: Sequence[Message]) -> int:
    """How many of these are where the replay would put them."""
    if plan.stage == "export":
        return 0
    if plan.stage == "index":
        heads = await doors.routes.heads(list({message.conversation_id for message in messages}))
        return sum(m.conversation_id in heads and heads[m.conversation_id].seq >= m.seq for m in messages)

    async def is_stored(place: tuple[str, int]) -> bool:
        conversation_id, seq = place
        page = await patiently(lambda: doors.history.page(conversation_id, before_seq=seq + 1, limit=1))
        return bool(page) and page[0].seq == seq

    stored = await look_up([(m.conversation_id, m.seq) for m in messages], is_stored)
    return sum(stored.values())
