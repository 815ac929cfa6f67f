"""A Faust transport that hands agents one event per polled chunk of a partition.

Nearly all of a plain agent's cost is machinery per event (a task, a lock, an ack: 9,000 records/s).
One event per chunk does that work once for up to a thousand records: 550,000 records/s measured
with the same agent. Faust keeps what it is good at: groups, assignment, commits, restarts.

Chunks of one partition are handled one after the other (isolated partitions), so the offset to commit is
simply the one behind the last chunk that the stage has handled. What Faust takes for acknowledged does not
count: that is also a chunk that it skips because its streams are being stopped, and one in whose middle an
agent was cancelled. A worker that was told to end committed such a chunk: eight accepted sends were lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from inspect import isawaitable
from typing import Any, ClassVar, cast

from aiokafka.errors import (
    GroupLoadInProgressError,
    NoError,
    NotCoordinatorForGroupError,
    RebalanceInProgressError,
)
from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest
from aiokafka.structs import ConsumerRecord
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from infra.kafka.reconnecting import reconnect_calmly
from infra.ports import Record
from pipeline.batch import Chunk
from pipeline.tenure import Tenure

__all__ = ["BatchConsumer", "BatchTransport", "LoopConsumer", "ask_coordinator", "split_chunk"]

MAX_CHUNK_BYTES = 1_048_576
_BUSY_POLL_S = 0.005
_PROOFS = (SyncGroupRequest, HeartbeatRequest)
_KNOWN = (NoError.errno, RebalanceInProgressError.errno)
"""A member that is to join again is one: its partitions are its own until it does."""


def split_chunk(records: Sequence[ConsumerRecord], max_bytes: int) -> Iterator[Sequence[ConsumerRecord]]:
    """Neighbouring records in runs of at most `max_bytes` of values; a larger record stands alone."""
    start = size = 0
    for index, record in enumerate(records):
        length = len(record.value or b"")
        if size + length > max_bytes and index > start:
            yield records[start:index]
            start, size = index, 0
        size += length
    if start < len(records):
        yield records[start:]


async def ask_coordinator(send: Callable[[Any], Awaitable[Any]], tenure: Tenure, request: Any) -> Any:
    """Each answer that says this member is known proves its tenure; one with partitions may begin a term.

    A coordinator that is still loading its groups when it is asked for partitions is away, to aiokafka too:
    by itself it takes that answer, which it knows from every other request, for the end.
    """
    asked_at = tenure.clock.monotonic()
    answer = await send(request)
    if isinstance(request, _PROOFS) and answer.error_code in _KNOWN:
        tenure.prove(asked_at)
    if isinstance(request, SyncGroupRequest):
        if answer.error_code == NoError.errno:
            tenure.join(request._generation_id)
        if answer.error_code == GroupLoadInProgressError.errno:
            answer.error_code = NotCoordinatorForGroupError.errno
    return answer


class LoopConsumer(driver.AIOKafkaConsumerThread):
    """What Faust runs in a thread of its own, on the app's loop instead.

    Faust fears that an agent blocks the loop and heartbeats with it. Our stages hold it for a chunk
    at most (10 ms), while each thread waits up to 5 ms for the interpreter lock at every turn: with
    three stages in a process, a hop of 9 ms (README, "What Faust does here").
    """

    abstract: ClassVar[bool] = False

    def __init__(self, consumer: BatchConsumer, loop: asyncio.AbstractEventLoop, beacon: Any) -> None:
        super().__init__(consumer, loop=loop, thread_loop=loop, beacon=beacon)

    async def start(self) -> None:
        self._thread_started.set()
        await self._default_start()

    async def on_start(self) -> None:
        await super().on_start()
        consumer = self._ensure_consumer()
        reconnect_calmly(consumer._client)
        coordinator = consumer._coordinator
        tenure = cast(BatchTransport, self.transport).tenure
        coordinator._send_req = partial(ask_coordinator, coordinator._send_req, tenure)

    @property
    def gave_up(self) -> BaseException | None:
        """What ended this member's part in its group.

        The driver keeps it for who asks for records, and waits until somebody does; while partitions are
        divided nobody does. Workers that began when Kafka had just begun stood so until somebody noticed.
        """
        coordinator = getattr(self._consumer, "_coordinator", None)
        return None if coordinator is None else coordinator._pending_exception

    async def stop(self) -> None:
        if not self._started.is_set() or self._stopped.is_set():
            return
        self._stopped.set()
        if self._consumer is not None:
            # A static member (it comes back quickly after a crash) would keep its partitions from the
            # others until its session times out; who stops on purpose and is not replaced leaves at once.
            if not cast(BatchTransport, self.transport).replaced:
                self._consumer._coordinator._group_instance_id = None
            await self._consumer.stop()
        await self._default_stop_children()
        self._shutdown.set()
        await self._default_stop_futures()
        await self._default_stop_exit_stacks()

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = fun(*args, **kwargs)
        return await result if isawaitable(result) else result

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await self.consumer.on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        await self.consumer.on_partitions_assigned(assigned, generation_id)


class BatchConsumer(driver.Consumer):
    """Yields chunks: `value` is a `Chunk`, `offset` that of its last record.

    The first one of a partition that has come is empty, so that its stage gets ready before there is
    anything to handle: a message then waits for one stage at most, not for each of them in turn.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._room = asyncio.Event()
        self._handled: dict[TP, int] = {}
        """The offset behind the last handled chunk of each partition since it was assigned."""
        self._unopened: set[TP] = set()
        """Partitions whose stage is yet to be told that they have come."""

    def _new_consumer_thread(self) -> LoopConsumer:
        return LoopConsumer(self, self.loop, self.beacon)

    @property
    def gave_up(self) -> BaseException | None:
        """What ended this member's part in its group; nothing is handled any more."""
        return cast(LoopConsumer, self._thread).gave_up

    def on_buffer_drop(self, tp: TP) -> None:
        super().on_buffer_drop(tp)
        self._room.set()

    async def _wait_next_records(self, timeout: float) -> tuple[Any, set[TP]]:
        """What has been fetched for the partitions that have room for it.

        A partition whose stage is busy is left alone until it has room; meanwhile its records gather
        and make one large chunk instead of many small ones. Faust would sleep a second when no
        partition has room, and not look at one that got room while it waits for the others.
        """
        if not self.flow_active:
            await self.wait(cast(Any, self.can_resume_flow))
        self._room.clear()
        active = self._get_active_partitions()
        if self._unopened:
            return {}, active
        if active:
            return await self._getmany(active, _BUSY_POLL_S if self._buffered_partitions else timeout), active
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._room.wait()
        return {}, active

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        fetched, active = await self._wait_next_records(timeout)
        generation_id = self.app.consumer_generation_id
        while self._unopened and not self._superseded(generation_id):
            tp = self._unopened.pop()
            yield tp, _message(tp, Chunk(tp.partition, self._read_offset[tp] or 0, ()), generation_id)
        if not fetched or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        for tp, records in fetched.items():
            if active and tp not in active and tp not in self._buffered_partitions:
                continue
            for run in split_chunk(records, MAX_CHUNK_BYTES):
                if self._superseded(generation_id):
                    return
                chunk = Chunk(tp.partition, run[0].offset, [_record(found) for found in run])
                yield tp, _message(tp, chunk, generation_id)

    def _superseded(self, generation_id: int) -> bool:
        """Whether a rebalance began since these records were fetched."""
        return not self.flow_active or self.app.consumer_generation_id != generation_id

    async def noting(self, chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        """The same chunks. Each is handled when the next one is asked for; only then may its offset move."""
        async for chunk in chunks:
            yield chunk
            if chunk.records:
                self._handled[TP(chunk.records[0].topic, chunk.partition)] = chunk.end

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group, once that is allowed: all else that an app must do to start is done by then."""
        transport = cast(BatchTransport, self.transport)
        transport.loaded.set()
        await transport.may_join.wait()
        await super().subscribe(topics)

    async def perform_seek(self) -> None:
        """It is known now where each partition goes on."""
        await super().perform_seek()
        self._unopened = set(self.assignment())

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        for tp in assigned:
            self._handled.pop(tp, None)
        await super().on_partitions_assigned(assigned, generation_id)

    def _new_offset(self, tp: TP) -> int | None:
        acked = self._acked[tp]
        self._acked_index[tp].difference_update(acked)
        acked.clear()
        # Faust would try to commit what has gone to somebody else again and again, and say so each time.
        return self._handled.get(tp) if tp in self.assignment() else None

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Chunks leave no gaps between acknowledged offsets that would have to be remembered."""


def _record(r: ConsumerRecord) -> Record:
    return Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)


def _message(tp: TP, chunk: Chunk, generation_id: int) -> ConsumerMessage:
    """Faust's form of a chunk: at the offset of its last record, or where Faust has read to. Streams drop one
    without a generation silently after a rebalance."""
    at = max(chunk.start, chunk.end - 1)
    value = cast(Any, chunk)
    return ConsumerMessage(
        tp.topic, tp.partition, at, 0.0, 0, [], None, value, None, tp=tp, generation_id=generation_id
    )


class BatchTransport(driver.Transport):
    """`aiokafka://` with chunks for events."""

    Consumer: ClassVar[Any] = BatchConsumer
    tenure: Tenure
    """Set by whoever makes the app."""
    replaced: bool = False
    """Whether a process of the same name takes the place of this one in its group."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loaded = asyncio.Event()
        """Set when the app waits for nothing but to join its group."""
        self.may_join = asyncio.Event()
        """Set by whoever starts the app."""
