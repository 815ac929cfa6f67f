"""What redriving a dead letter means: a table by stage, and the order in which letters go.

A letter is never simply put back. A record that goes into the log again gets a new offset there, so
what it may become depends on who reads it:

    moderation   its bytes to im.inbound       a new request: judged with today's rights, placed now
    sequencing   its Inbound to im.inbound     back to im.accepted it would be dropped as a repeat (its
                                               source offset does not rise), so it is asked anew
    persistence  its rows into the history     it has its seq already: nothing may be published (P2)
    fanout       its entries into the index    the same; nobody is delivered to, clients see the hole and
                                               fill it by history
    receipts     its bytes to im.receipts      a cursor only rises

Order: letters of one origin partition go in the order of their origin offsets, each batch after the
acknowledgement of the one before, so of one conversation's letters none overtakes another. What was
said since the failure is not overtaken back: a request that is placed now comes after it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import groupby
from typing import Final

import msgspec

from infra.audit import audited
from infra.ports import Outgoing, Record
from pipeline.batch import Batch
from pipeline.fanout.agent import Fanout
from pipeline.fanout.plan import index_entries
from pipeline.ops.dead_letters.box import records_at
from pipeline.ops.dead_letters.letters import (
    REDRIVE,
    REDRIVEN_HEADER,
    SKIP,
    DeadLetter,
    Handled,
    original_headers,
)
from pipeline.persistence.agent import Persistence
from pipeline.topology import Doors
from schemas.codec import ACCEPTED, INBOUND
from schemas.errors import ImError, Undecodable
from schemas.topics import DEAD_LETTERS, RECEIPTS
from schemas.topics import INBOUND as INBOUND_TOPIC

__all__ = ["EFFECTS", "Redriven", "redrive", "skip"]

_BATCH_LETTERS: Final = 500

EFFECTS: Final[Mapping[str, str]] = {
    "moderation": "a new request on im.inbound, judged and placed now",
    "sequencing": "a new request on im.inbound, judged and placed now",
    "persistence": "stored; nothing is published",
    "fanout": "indexed; nobody is delivered to",
    "receipts": "published to im.receipts again",
}
"""Stage → what redriving one of its letters does."""


class Redriven(msgspec.Struct):
    """What a redrive came to. `failed`: letter → why it stays where it is."""

    redriven: int = 0
    already: int = 0
    """An earlier redrive that was cut short had published them: only noted now."""
    failed: dict[str, str] = {}


async def redrive(
    doors: Doors,
    actor: str,
    letters: Sequence[DeadLetter],
    handled: Handled,
    report: Callable[[int], None] = lambda _: None,
) -> Redriven:
    """Redrive letters that nobody has handled; `report` hears how many letters each batch was.

    Each batch is on im.audit before and after: a letter that is done is never redriven again. If this
    process is killed in between, the next redrive looks into the log for what this one published.
    Raises `Unavailable`; what is done is noted then.
    """
    total = Redriven()
    ordered = sorted(letters, key=lambda letter: (letter.stage, *letter.order))
    for stage, group in groupby(ordered, key=lambda letter: letter.stage):
        members = list(group)
        for start in range(0, len(members), _BATCH_LETTERS):
            batch = members[start : start + _BATCH_LETTERS]
            async with _noted(doors, actor, REDRIVE, batch, {"stage": stage}) as outcome:
                failed, already = await _redrive_batch(doors, stage, batch, handled)
                outcome["failed"] = sorted(failed)
                outcome["redriven"] = len(batch) - len(failed)
            total.failed |= failed
            total.already += already
            total.redriven += len(batch) - len(failed) - already
            report(len(batch))
    return total


async def skip(doors: Doors, actor: str, letters: Sequence[DeadLetter], reason: str) -> int:
    """Note that these letters are given up, and why. Returns how many."""
    for start in range(0, len(letters), _BATCH_LETTERS):
        batch = letters[start : start + _BATCH_LETTERS]
        async with _noted(doors, actor, SKIP, batch, {"reason": reason}) as outcome:
            outcome["skipped"] = len(batch)
    return len(letters)


def _noted(
    doors: Doors, actor: str, action: str, batch: Sequence[DeadLetter], details: Mapping[str, object]
) -> AbstractAsyncContextManager[dict[str, object]]:
    said = {**details, "letters": [letter.id for letter in batch]}
    return audited(doors.bus, doors.clock, actor, action, DEAD_LETTERS, said)


async def _redrive_batch(
    doors: Doors, stage: str, batch: Sequence[DeadLetter], handled: Handled
) -> tuple[dict[str, str], int]:
    """Letter → why it could not be redriven, and how many had been already."""
    records = await records_at(doors.bus, {letter.letter_offset for letter in batch})
    failed = {it.id: "it has expired" for it in batch if it.letter_offset not in records}
    there = [letter for letter in batch if letter.id not in failed]
    origins = {letter.id: _origin(letter, records[letter.letter_offset]) for letter in there}
    if stage == "persistence":
        return failed | await _store(doors, origins), 0
    if stage == "fanout":
        return failed | await _index(doors, origins), 0
    if stage not in EFFECTS:
        return failed | dict.fromkeys(origins, "no stage of ours has buried it"), 0
    published = await _published(doors, [letter for letter in there if letter.id in handled.unsure], handled)
    again = {name: record for name, record in origins.items() if name not in published}
    return failed | await _publish(doors, stage, again), len(published)


def _origin(letter: DeadLetter, record: Record) -> Record:
    """The record as it was when it failed."""
    return Record(
        letter.topic,
        letter.partition,
        letter.offset,
        record.timestamp_ms,
        record.key,
        record.value,
        original_headers(record),
    )


async def _publish(doors: Doors, stage: str, origins: Mapping[str, Record]) -> dict[str, str]:
    """Publish all in one call, in order. The first that cannot be read leaves the others alone."""
    out: list[Outgoing] = []
    failed: dict[str, str] = {}
    for name, record in origins.items():
        try:
            request = _asked_anew(doors, record) if stage == "sequencing" else _as_it_was(record)
        except Undecodable as error:
            failed[name] = str(error)
            continue
        headers = (*request.headers, (REDRIVEN_HEADER, name.encode()))
        out.append(msgspec.structs.replace(request, headers=headers))
    await doors.bus.publish(out)
    return failed


def _as_it_was(record: Record) -> Outgoing:
    headers = tuple((name, value) for name, value in record.headers if name != REDRIVEN_HEADER)
    return Outgoing(record.topic, record.partition, record.value, record.key, headers)


def _asked_anew(doors: Doors, record: Record) -> Outgoing:
    """The Inbound inside an Accepted, to where its conversation belongs. Raises `Undecodable`."""
    _, inbound, body = ACCEPTED.split(record.value)
    partition = doors.bus.partition_for(inbound.conversation_id)
    value = INBOUND.splice({}, body)
    return Outgoing(
        INBOUND_TOPIC, partition, value, inbound.conversation_id.encode(), _as_it_was(record).headers
    )


async def _published(doors: Doors, unsure: Sequence[DeadLetter], handled: Handled) -> set[str]:
    """Of letters whose redrive was cut short, those that are in the log already."""
    if not unsure:
        return set()
    topic = RECEIPTS if unsure[0].topic == RECEIPTS else INBOUND_TOPIC
    since_ms = min(handled.unsure[letter.id] for letter in unsure)
    wanted = {letter.id.encode(): letter.id for letter in unsure}
    found: set[str] = set()
    async for record in _since(doors, topic, since_ms):
        name = wanted.get(dict(record.headers).get(REDRIVEN_HEADER, b""))
        if name is not None:
            found.add(name)
    return found


async def _since(doors: Doors, topic: str, since_ms: int) -> AsyncIterator[Record]:
    for partition, end in (await doors.bus.ends(topic)).items():
        start = await doors.bus.offsets_at(topic, partition, since_ms)
        async with doors.bus.scan(topic, partition, start, end) as runs:
            async for records in runs:
                for record in records:
                    yield record


async def _store(doors: Doors, origins: Mapping[str, Record]) -> dict[str, str]:
    """Through the stage's own rules into the history."""
    return await _one_by_one(origins, lambda batch: _perform_persistence(Persistence(doors.history), batch))


async def _perform_persistence(stage: Persistence, batch: Batch) -> None:
    rows = stage.plan(batch)
    if not batch.buried:
        await stage.perform(rows)


async def _index(doors: Doors, origins: Mapping[str, Record]) -> dict[str, str]:
    """Through the stage's own rules into inboxes and heads, as something that has changed just now: so
    the next pong and the next sync show it."""

    async def perform(batch: Batch) -> None:
        stage = Fanout(doors.settings, doors.bus, doors.history, doors.routes)
        await stage.assign(batch.partition, batch.records[0].offset)
        await stage.load(batch)
        touched, heads = index_entries(stage.plan(batch))
        now_ms = doors.clock.now_ms()
        await doors.routes.index(
            {user_id: dict.fromkeys(changed, now_ms) for user_id, changed in touched.items()},
            {name: msgspec.structs.replace(head, at_ms=now_ms) for name, head in heads.items()},
        )

    return await _one_by_one(origins, perform)


async def _one_by_one(
    origins: Mapping[str, Record], perform: Callable[[Batch], Awaitable[None]]
) -> dict[str, str]:
    """Each record as a batch of its own; what is buried again says why."""
    failed: dict[str, str] = {}
    for name, record in origins.items():
        batch = Batch(record.topic, record.partition, [record], 0.0)
        await perform(batch)
        buried: list[ImError] = [it.error for it in batch.buried]
        if buried:
            failed[name] = str(buried[0])
    return failed
