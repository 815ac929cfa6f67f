"""im.accepted → im.messages: the stage that gives every message its seq."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog

from infra.clock import Clock
from infra.ports import Bus, HistoryStore, Outgoing, Record
from infra.settings import Settings
from infra.together import look_up, together
from pipeline.batch import Batch
from pipeline.dedupe import key_of
from pipeline.outcomes import rejected_answer, sent_answer
from pipeline.places import (
    STEP_BACK_RECORDS,
    PlacesWriter,
    entries_of,
    newest_accepted,
    newest_before,
    offset_before,
    read_places,
    record_at,
)
from pipeline.sequencing.allocator import Conflict, SequenceAllocator
from pipeline.source_order import SourceOrder
from pipeline.topology import group_of
from schemas.codec import ACCEPTED, MESSAGE
from schemas.codes import Code
from schemas.errors import Undecodable
from schemas.topics import ACCEPTED as ACCEPTED_TOPIC
from schemas.topics import MESSAGES

__all__ = ["Sequencing"]

log = structlog.get_logger(__name__)

_CONVERSATIONS = 200_000
_EVICT = 2_000


class Sequencing:
    """`pipeline.batch.Stage`: counts each conversation, and answers repeats with their first place.

    Nothing but the log and the history decides: state on assignment is what im.messages says of the
    dedupe window (or back to what persistence has stored if that is longer ago), by its index im.places
    as far as that goes and then by its tail, and, for conversations that were quiet since, their head
    in the history.
    """

    name = "sequencing"

    def __init__(self, settings: Settings, bus: Bus, history: HistoryStore, clock: Clock) -> None:
        self._window_ms = settings.dedupe_window_s * 1000
        self._bus = bus
        self._history = history
        self._clock = clock
        self._states: dict[int, SequenceAllocator] = {}
        self._places: dict[int, PlacesWriter] = {}
        self._ends: dict[int, int] = {}
        self._inputs = SourceOrder()

    async def startup(self) -> None:
        """Nothing is shared between partitions."""

    async def assign(self, partition: int, position: int) -> None:
        state = SequenceAllocator(self._window_ms, max_entries=2_000_000)
        (places, start, end), newest_input = await together(
            self._recall_window(partition, position, state),
            newest_accepted(self._bus, partition, position - STEP_BACK_RECORDS, position),
        )
        self._inputs.resume(partition, newest_input)
        self._states[partition] = state
        self._places[partition] = places
        self._ends[partition] = end
        log.info(
            "sequencing.assigned", partition=partition, position=position, done=state.done_offset,
            tail=end - start, conversations=len(state),
        )  # fmt: skip

    async def _recall_window(
        self, partition: int, position: int, state: SequenceAllocator
    ) -> tuple[PlacesWriter, int, int]:
        """Take what im.places and im.messages say; the offsets of the latter that were read."""
        places, start = await self._recall_places(partition, position, state)
        return places, start, await self._recall(partition, state, places, start)

    async def _recall_places(
        self, partition: int, position: int, state: SequenceAllocator
    ) -> tuple[PlacesWriter, int]:
        """Take what im.places says of the window before `position`, or of what persistence has not stored if
        that is older; and where in im.messages the rest begins."""
        now_ms = self._clock.now_ms()
        newest_ms, (stored, unstored) = await together(
            newest_before(self._bus, ACCEPTED_TOPIC, partition, position, now_ms), self._unstored(partition)
        )
        since_ms = newest_ms - self._window_ms
        with suppress(Undecodable):
            if unstored is not None:
                since_ms = min(since_ms, MESSAGE.peek(unstored.value).sent_at_ms)
        runs = await read_places(self._bus, partition, since_ms)
        if not runs:
            start = await self._bus.offsets_at(MESSAGES, partition, since_ms)
            return PlacesWriter(partition), min(stored, start)
        for run in runs:
            for key, place in entries_of(run):
                state.recall_entry(key, place)
        state.done_offset = runs[-1].last_offset
        position = state.done_offset + 1
        start = await offset_before(self._bus, MESSAGES, partition, position, _source_of_message)
        return PlacesWriter(partition, position), start

    async def _unstored(self, partition: int) -> tuple[int, Record | None]:
        """Where in im.messages begins what persistence has not stored, and its first record."""
        stored = (await self._bus.committed(group_of("persistence"), MESSAGES)).get(partition, 0)
        return stored, await record_at(self._bus, MESSAGES, partition, stored)

    def revoke(self, partition: int) -> None:
        self._states.pop(partition, None)
        self._places.pop(partition, None)
        self._ends.pop(partition, None)
        self._inputs.forget(partition)

    async def load(self, batch: Batch) -> None:
        state = self._states[batch.partition]
        wanted = state.unknown(r.key.decode(errors="replace") for r in batch.records if r.key is not None)
        if wanted:
            state.learn(await self._heads(wanted))
            await self._see_others(batch.partition, state)
        if len(state) > _CONVERSATIONS:
            stale = state.stalest(_EVICT)
            stored = await self._heads(set(stale))
            state.forget(c for c, seq in stale.items() if stored[c] == seq)

    async def _see_others(self, partition: int, state: SequenceAllocator) -> None:
        """Take in what somebody else wrote since we last looked: a worker we replaced, or the one that
        replaced us. A head read from the history may count such messages already, so they must be known
        as done. Asked after the head was read: what is stored is in the log.
        """
        if (await self._bus.ends(MESSAGES)).get(partition, 0) != self._ends[partition]:
            places, start = self._places[partition], self._ends[partition]
            self._ends[partition] = await self._recall(partition, state, places, start)

    async def _recall(
        self, partition: int, state: SequenceAllocator, places: PlacesWriter, start: int
    ) -> int:
        """Take im.messages from `start` on; where it ends."""

        def recall(records: Sequence[Record]) -> None:
            for record in records:
                with suppress(Undecodable):  # what is no Message has no place; its readers bury it
                    if MESSAGE.numbers(record.value)["source_offset"] <= state.done_offset:
                        continue  # most of a tail, known by im.places
                    placed = state.recall(MESSAGE.decode(record.value))
                    if placed is not None:
                        places.add(*placed, state.done_offset)

        return await self._bus.read_range(MESSAGES, partition, start, None, recall)

    def plan(self, batch: Batch) -> list[Outgoing]:
        state, places = self._states[batch.partition], self._places[batch.partition]
        out = places.take(self._clock.now_ms())
        for record in batch.records:
            try:
                prefix, inbound, body = ACCEPTED.split(record.value)
                if record.key != inbound.conversation_id.encode():
                    raise Undecodable("the record's key is not its conversation_id")
            except Undecodable as error:
                batch.bury(record, error)
                continue
            if (
                self._inputs.is_repeat(batch.partition, prefix["source_offset"])
                or record.offset <= state.done_offset
            ):
                batch.repeats += 1
                continue
            beside = batch.trace.get(record.offset, ())
            placed = state.assign(inbound, record.offset, record.timestamp_ms)
            if isinstance(placed, Conflict):
                out.append(rejected_answer(inbound, Code.DUPLICATE_CONFLICT, headers=beside))
                continue
            place, new = placed
            if not new:
                out.append(sent_answer(inbound, place.seq, place.message_id, place.sent_at_ms, beside))
                continue
            places.add(key_of(inbound), place, record.offset)
            numbers = {"seq": place.seq, "source_offset": record.offset, "sent_at_ms": place.sent_at_ms}
            out.append(Outgoing(MESSAGES, batch.partition, MESSAGE.splice(numbers, body), record.key, beside))
        places.cover(batch.records[-1].offset)
        return out

    async def perform(self, effects: list[Outgoing]) -> None:
        await self._bus.publish(effects)
        for record in effects:
            if record.topic == MESSAGES and record.partition in self._ends:
                self._ends[record.partition] += 1

    async def _heads(self, conversation_ids: set[str]) -> Mapping[str, int]:
        """Newest stored seq of each."""
        found = await look_up(sorted(conversation_ids), self._history.head)
        return {c: head.seq if head is not None else 0 for c, head in found.items()}


def _source_of_message(record: Record) -> int:
    return MESSAGE.peek(record.value).source_offset
