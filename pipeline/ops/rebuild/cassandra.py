"""A keyspace out of the log: messages by a replay that can be resumed, then the cursors.

What the topics hold comes back equal; a test compares digests. What they do not hold does not: mutes
(`conversation.mute` is stored and nowhere said), and cursors that moved before im.receipts begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from infra.audit import audited
from infra.cassandra import apply_migrations, first_row
from infra.settings import Settings
from infra.together import look_up
from pipeline.ops.replay.plan import load_plan, save
from pipeline.ops.replay.planning import everything, make_plan
from pipeline.ops.replay.progress import Progress, load_progress
from pipeline.ops.replay.replay import apply_plan
from pipeline.receipts.agent import read_receipt
from pipeline.receipts.cursors import merge
from pipeline.topology import Doors
from schemas.conversation import fold
from schemas.errors import BadInput, ImError, Undecodable
from schemas.ids import conversation_kind, direct_users
from schemas.records import Receipt
from schemas.tables import StoredEvent
from schemas.topics import RECEIPTS

__all__ = ["prepare_keyspace", "rebuild_cursors", "rebuild_messages"]

_CURSORS: Final = 5_000


async def prepare_keyspace(settings: Settings) -> None:
    """Make the keyspace with its tables. Raises `BadInput` if one of them has rows."""
    await apply_migrations(settings)
    table = await first_row(settings)
    if table is not None:
        raise BadInput(f"keyspace {settings.keyspace} is not empty: {table} has rows")


async def rebuild_messages(
    doors: Doors,
    path: Path,
    actor: str,
    stop: asyncio.Event,
    report: Callable[[int, int], None] = lambda *_: None,
) -> Progress:
    """Every message of the log into the history of `doors`; goes on if `path` was begun before."""
    if not path.exists():
        save(path, await make_plan(doors, everything("persist", doors.settings.keyspace), actor))
    total = load_plan(path).counts.records
    begun = load_progress(path) is not None
    return await apply_plan(
        doors, path, actor, resume=begun, stop=stop, report=lambda progress: report(progress.read, total)
    )


async def rebuild_cursors(doors: Doors, actor: str, report: Callable[[int, int], None]) -> int:
    """The highest cursors of everybody who ever was a member, from im.receipts; how many.

    After the messages: they say who was a member. Cursors rise only, so this may be repeated.
    """
    beginnings, ends = await doors.bus.beginnings(RECEIPTS), await doors.bus.ends(RECEIPTS)
    total = sum(ends[partition] - first for partition, first in beginnings.items())
    read = written = 0
    keyspace = doors.settings.keyspace
    async with audited(doors.bus, doors.clock, actor, "rebuild.cursors", keyspace, {}) as outcome:
        for partition, start in beginnings.items():
            highest: dict[tuple[str, str], Receipt] = {}
            async with doors.bus.scan(RECEIPTS, partition, start, ends[partition]) as runs:
                async for records in runs:
                    read_now = [it for it in map(read_receipt, records) if not isinstance(it, ImError)]
                    touched = {(it.conversation_id, it.user_id) for it in read_now}
                    known = [highest[key] for key in touched if key in highest]
                    highest.update({(r.conversation_id, r.user_id): r for r in merge([*known, *read_now])})
                    read += len(records)
                    report(read, total)
            own = await _of_members(doors, list(highest.values()))
            for at in range(0, len(own), _CURSORS):
                await doors.history.move_cursors(own[at : at + _CURSORS])
            written += len(own)
        outcome.update(receipts=read, cursors=written)
    return written


async def _of_members(doors: Doors, receipts: list[Receipt]) -> list[Receipt]:
    """Those of users who are or were members of their conversation."""
    groups = {r.conversation_id for r in receipts if conversation_kind(r.conversation_id) != "direct"}
    events = await look_up(groups, doors.history.events)
    members = {name: _ever_inside(name, stored) for name, stored in events.items()}
    return [
        receipt
        for receipt in receipts
        if receipt.user_id in (members.get(receipt.conversation_id) or _both(receipt.conversation_id))
    ]


def _both(conversation_id: str) -> set[str]:
    return set(direct_users(conversation_id)) if conversation_id.startswith("d:") else set()


def _ever_inside(conversation_id: str, events: list[StoredEvent]) -> set[str]:
    try:
        return set(fold(conversation_id, [(e.seq, e.kind, e.content) for e in events]).members)
    except Undecodable:
        return set()
