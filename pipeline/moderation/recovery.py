"""What a worker must know before it judges its first request, read from the log and the history."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog

from infra.ports import Bus, HistoryStore, Record
from infra.together import together
from pipeline.moderation.ledger import Ledger
from pipeline.places import (
    entries_of,
    newest_accepted,
    newest_before,
    offset_before,
    read_places,
    record_at,
    source_of_accepted,
)
from pipeline.states import ConversationStates, by_source_offset
from pipeline.topology import group_of
from schemas.codec import ACCEPTED, DECISION, MESSAGE
from schemas.errors import Undecodable
from schemas.records import STATE_KINDS
from schemas.tables import StoredEvent
from schemas.topics import ACCEPTED as ACCEPTED_TOPIC
from schemas.topics import MESSAGES, MODERATION

__all__ = ["recover"]

_REFUSALS_TAIL: Final = 10_000
"""Decisions that are read for what was rejected lately: some 50 ms."""

log = structlog.get_logger(__name__)


async def recover(
    bus: Bus, history: HistoryStore, partition: int, position: int, window_ms: int, now_ms: int
) -> tuple[Ledger, ConversationStates]:
    """The ledger and the states of a partition whose first record will be at `position` of im.inbound.

    Three tails are read: im.accepted for what was accepted from `position` on, for events that the
    history may not hold yet, and for every client_msg_id those could repeat (older ones are in
    im.places); im.moderation for what was rejected from `position` on, and shortly before it. Messages wait
    meanwhile, for a dozen short questions: those that need no answer of another go side by side. Raises
    `Unavailable`.
    """
    ledger = Ledger(position, window_ms)
    states = ConversationStates(history, by_source_offset)
    tail, _ = await together(
        _recall_accepted(bus, partition, ledger, states, position, window_ms, now_ms),
        _recall_refusals(bus, partition, ledger, position),
    )
    log.info("moderation.recovered", partition=partition, position=position, tail=tail)
    return ledger, states


async def _recall_accepted(
    bus: Bus,
    partition: int,
    ledger: Ledger,
    states: ConversationStates,
    position: int,
    window_ms: int,
    now_ms: int,
) -> int:
    """Take what was accepted, from im.places and im.accepted; how many offsets of the latter."""
    stored_until, before, ends = await together(
        _stored_until(bus, partition),
        offset_before(bus, ACCEPTED_TOPIC, partition, position, source_of_accepted),
        bus.ends(ACCEPTED_TOPIC),
    )
    known = min(stored_until + 1, ends.get(partition, 0))
    since_ms = await newest_before(bus, ACCEPTED_TOPIC, partition, known, now_ms) - window_ms
    start = await _recall_places(bus, partition, ledger, stored_until, since_ms)
    if before < start:
        newest = await newest_accepted(bus, partition, before, start)
        if newest < position:
            ledger.recall_newest(newest)
        else:
            start = before

    def recall(records: Sequence[Record]) -> None:
        for record in records:
            with suppress(Undecodable):
                prefix, inbound, _ = ACCEPTED.split(record.value)
                counts = ledger.recall(prefix["source_offset"], inbound, record.timestamp_ms)
                if counts and record.offset >= stored_until and inbound.kind in STATE_KINDS:
                    event = StoredEvent(0, record.offset, inbound.kind, inbound.content)
                    states.recall(inbound.conversation_id, event)

    return await bus.read_range(ACCEPTED_TOPIC, partition, start, None, recall) - start


async def _recall_refusals(bus: Bus, partition: int, ledger: Ledger, position: int) -> None:
    """Take what was rejected, from im.moderation."""

    def recall(records: Sequence[Record]) -> None:
        for record in records:
            with suppress(Undecodable):
                decision = DECISION.decode(record.value)
                if decision.verdict == "reject":
                    ledger.recall_rejection(decision, record.timestamp_ms)

    before, ends = await together(
        offset_before(bus, MODERATION, partition, position, _source_of_decision), bus.ends(MODERATION)
    )
    lately = ends.get(partition, 0) - _REFUSALS_TAIL
    await bus.read_range(MODERATION, partition, max(0, min(before, lately)), None, recall)


async def _stored_until(bus: Bus, partition: int) -> int:
    """The offset of im.accepted before which every event is in the history."""
    stored = (await bus.committed(group_of("persistence"), MESSAGES)).get(partition, 0)
    last = await record_at(bus, MESSAGES, partition, stored - 1) if stored > 0 else None
    with suppress(Undecodable):
        return MESSAGE.peek(last.value).source_offset + 1 if last is not None else 0
    return 0


async def _recall_places(bus: Bus, partition: int, ledger: Ledger, bound: int, since_ms: int) -> int:
    """Take the ids used since then by what lies before `bound` in im.accepted, as far as im.places knows
    them; the offset from which im.accepted itself must be read."""
    runs = [run for run in await read_places(bus, partition, since_ms) if run.last_offset < bound]
    for run in runs:
        for key, place in entries_of(run):
            ledger.recall_use(key, place.content_crc, place.sent_at_ms)
    if runs:
        return runs[-1].last_offset + 1
    return min(bound, await bus.offsets_at(ACCEPTED_TOPIC, partition, since_ms))


def _source_of_decision(record: Record) -> int:
    return DECISION.decode(record.value).source_offset
