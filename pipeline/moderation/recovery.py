"""What a worker must know before it judges its first request, read from the log and the history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog

from infra.ports import Bus, HistoryStore, Record
from pipeline.app import group_of
from pipeline.moderation.ledger import Ledger
from pipeline.states import ConversationStates, by_source_offset
from schemas.codec import ACCEPTED, DECISION, MESSAGE
from schemas.errors import Undecodable
from schemas.records import STATE_KINDS
from schemas.tables import StoredEvent
from schemas.topics import ACCEPTED as ACCEPTED_TOPIC
from schemas.topics import MESSAGES, MODERATION

__all__ = ["recover"]

log = structlog.get_logger(__name__)

_TAIL_RECORDS: Final = 4_096
"""How far back the first look for a source offset goes; each further one goes four times as far."""


async def recover(
    bus: Bus, history: HistoryStore, partition: int, position: int, window_ms: int, now_ms: int
) -> tuple[Ledger, ConversationStates]:
    """The ledger and the states of a partition whose first record will be at `position` of im.inbound.

    Three tails are read: im.accepted for what was accepted from `position` on, for events that the
    history may not hold yet, and for every client_msg_id those could repeat; im.moderation for what
    was rejected from `position` on. Raises `Unavailable`.
    """
    log_tail = _Tail(bus, partition)
    ledger = Ledger(position, window_ms)
    states = ConversationStates(history, by_source_offset)
    stored_until = await log_tail.stored_until()
    start = min(
        stored_until,
        await log_tail.window_start(stored_until, window_ms, now_ms),
        await log_tail.offset_before(ACCEPTED_TOPIC, position, _source_of_accepted),
    )

    def recall(records: Sequence[Record]) -> None:
        for record in records:
            with suppress(Undecodable):
                prefix, inbound, _ = ACCEPTED.split(record.value)
                counts = ledger.recall(prefix["source_offset"], inbound, record.timestamp_ms)
                if counts and record.offset >= stored_until and inbound.kind in STATE_KINDS:
                    event = StoredEvent(0, record.offset, inbound.kind, inbound.content)
                    states.recall(inbound.conversation_id, event)

    def recall_decisions(records: Sequence[Record]) -> None:
        for record in records:
            with suppress(Undecodable):
                decision = DECISION.decode(record.value)
                if decision.verdict == "reject":
                    ledger.recall_rejection(decision.source_offset, decision.code)

    decided = await log_tail.offset_before(MODERATION, position, _source_of_decision)
    await bus.read_range(MODERATION, partition, decided, None, recall_decisions)
    end = await bus.read_range(ACCEPTED_TOPIC, partition, start, None, recall)
    log.info("moderation.recovered", partition=partition, position=position, tail=end - start)
    return ledger, states


class _Tail:
    """Questions about where a tail begins, for one partition number."""

    def __init__(self, bus: Bus, partition: int) -> None:
        self._bus = bus
        self._partition = partition

    async def stored_until(self) -> int:
        """The offset of im.accepted before which every event is in the history."""
        stored = (await self._bus.committed(group_of("persistence"), MESSAGES)).get(self._partition, 0)
        last = await self._record_at(MESSAGES, stored - 1) if stored > 0 else None
        with suppress(Undecodable):
            return MESSAGE.split(last.value)[0]["source_offset"] + 1 if last is not None else 0
        return 0

    async def window_start(self, offset: int, window_ms: int, now_ms: int) -> int:
        """The offset of im.accepted that lies a dedupe window before this one, or before now."""
        record = await self._record_at(ACCEPTED_TOPIC, offset)
        time_ms = now_ms if record is None else min(now_ms, record.timestamp_ms)
        return await self._bus.offsets_at(ACCEPTED_TOPIC, self._partition, time_ms - window_ms)

    async def offset_before(self, topic: str, position: int, source_of: Callable[[Record], int]) -> int:
        """An offset before every record that was made from `position` of im.inbound or later."""
        end = (await self._bus.ends(topic)).get(self._partition, 0)
        count = _TAIL_RECORDS
        while count < end:
            record = await self._record_at(topic, end - count)
            with suppress(Undecodable):
                if record is None or source_of(record) < position:
                    return end - count
            count *= 4
        return 0

    async def _record_at(self, topic: str, offset: int) -> Record | None:
        found: list[Record] = []
        await self._bus.read_range(topic, self._partition, offset, offset + 1, found.extend)
        return found[0] if found else None


def _source_of_accepted(record: Record) -> int:
    return ACCEPTED.split(record.value)[0]["source_offset"]


def _source_of_decision(record: Record) -> int:
    return DECISION.decode(record.value).source_offset
