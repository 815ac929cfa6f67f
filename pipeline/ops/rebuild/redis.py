"""Redis out of the log: inboxes, heads and large conversations, while everything runs.

Everything written here only rises (entries, heads) or is a set of members that is corrected at the
end, so live fan-out may write beside it, and a rebuild into a Redis that is not empty harms nothing.
Routes, leases and watermarks are not touched: gateways and workers bring them back by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final

import msgspec

from infra.audit import audited
from infra.together import look_up
from pipeline.fanout.agent import read_passing
from pipeline.ops.rebuild.index_fold import IndexFold
from pipeline.source_order import SourceOrder
from pipeline.topology import Doors
from schemas.errors import ImError
from schemas.topics import MESSAGES

__all__ = ["IndexPlan", "apply_index", "fold_log"]

_NAMES: Final = 5_000
_SAMPLE: Final = 500


class IndexPlan(msgspec.Struct):
    """The index as the log says it must be, and up to where the log was read."""

    fold: IndexFold
    ends: dict[int, int]
    records: int = 0
    failed: int = 0
    """Records nobody can read: they are dead letters already."""
    seconds: float = 0.0
    sampled: int = 0
    known: int = 0
    """Of the sampled conversations, those whose head Redis knows already."""


async def fold_log(doors: Doors, report: Callable[[int, int], None] = lambda *_: None) -> IndexPlan:
    """Read im.messages up to its present end. Changes nothing; `report(done, of)` meanwhile."""
    began = doors.clock.monotonic()
    beginnings, ends = await doors.bus.beginnings(MESSAGES), await doors.bus.ends(MESSAGES)
    plan = IndexPlan(IndexFold(doors.settings.fanout_threshold_members), ends)
    total = sum(ends[partition] - first for partition, first in beginnings.items())
    await _read(doors, plan, beginnings, ends, lambda: report(plan.records, total))
    plan.seconds = doors.clock.monotonic() - began
    sample = list(islice(plan.fold.heads(), _SAMPLE))
    plan.sampled, plan.known = len(sample), len(await doors.routes.heads(sample))
    return plan


async def _read(
    doors: Doors,
    plan: IndexPlan,
    starts: Mapping[int, int],
    ends: Mapping[int, int],
    report: Callable[[], None] = lambda: None,
) -> None:
    order, fold = SourceOrder(), plan.fold
    for partition, start in starts.items():
        async with doors.bus.scan(MESSAGES, partition, start, ends[partition]) as runs:
            async for records in runs:
                for record in records:
                    passing = read_passing(record, fold)
                    if isinstance(passing, ImError):
                        plan.failed += 1
                    elif not order.is_repeat(partition, passing.routing.source_offset):
                        routing = passing.routing
                        fold.take(passing.conversation_id, routing.seq, routing.sent_at_ms, passing.event)
                plan.records += len(records)
                report()


async def apply_index(
    doors: Doors, plan: IndexPlan, actor: str, report: Callable[[int, int], None] = lambda *_: None
) -> None:
    """Write the index. Inboxes are marked complete: gateways need not ask the history any more.

    That holds because what comes after the plan's ends is written by fan-out itself. Delivers nothing.
    """
    said = {"records": plan.records, "conversations": len(plan.fold)}
    async with audited(doors.bus, doors.clock, actor, "rebuild.redis", "redis", said) as outcome:
        heads, inboxes, large = plan.fold.heads(), plan.fold.inboxes(), dict(plan.fold.large())
        total = len(heads) + len(inboxes) + len(large)
        done = 0
        names = list(heads)
        for at in range(0, len(names), _NAMES):
            some = names[at : at + _NAMES]
            await doors.routes.index({}, {name: heads[name] for name in some})
            done += len(some)
            report(done, total)
        users = list(inboxes)
        for at in range(0, len(users), _NAMES):
            some = users[at : at + _NAMES]
            await look_up(some, lambda user: doors.routes.restore_inbox(user, inboxes[user], True))
            done += len(some)
            report(done, total)
        for name, members in large.items():
            await doors.routes.fill_readers(name, members)
            done += 1
            report(done, total)
        await _correct_large(doors, plan, large)
        outcome.update(heads=len(heads), inboxes=len(inboxes), large=len(large))


async def _correct_large(doors: Doors, plan: IndexPlan, filled: Mapping[str, Mapping[str, int]]) -> None:
    """Who left while the members were being written is taken out again.

    Fan-out may have taken them out before they were put in. Leaves beyond what is read now come later
    than the writing, so fan-out's word is the last on those.
    """
    ends = await doors.bus.ends(MESSAGES)
    await _read(doors, plan, plan.ends, ends)
    plan.ends = ends
    for name, members in filled.items():
        for seq, users in plan.fold.left(name, members).items():
            await doors.routes.leave_readers(name, users, seq)
