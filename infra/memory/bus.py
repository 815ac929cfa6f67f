"""The log in memory: the twin of `infra/kafka.py`."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from infra.clock import Clock
from infra.partitioning import murmur2_partition
from infra.ports import Outgoing, Record
from schemas.errors import BadInput
from schemas.topics import MAX_RECORD_BYTES, TOPICS

__all__ = ["MemoryBus", "MemorySubscription"]

_READ_RECORDS: Final = 1_000


class MemoryBus:
    """`ports.Bus` for one process. A record without a time is stamped by the clock as it is appended, never
    falling.

    The topics of `schemas.topics` have their partitions, any other topic has one. Nothing is ever
    dropped by itself, so this is for tests and trials.
    """

    def __init__(self, partitions: int, clock: Clock) -> None:
        self._partitions = partitions
        self._clock = clock
        self._counts = {topic.name: partitions for topic in TOPICS if topic.per_conversation}
        self._logs: dict[tuple[str, int], _Log] = {}
        self._committed: dict[tuple[str, str], dict[int, int]] = {}
        self._appended: dict[str, asyncio.Event] = {}

    async def startup(self) -> None:
        """Nothing to open."""

    async def shutdown(self) -> None:
        """Nothing to close."""

    def partition_for(self, key: str) -> int:
        return murmur2_partition(key.encode(), self._partitions)

    async def publish(self, records: Sequence[Outgoing]) -> None:
        for record in records:
            self._check(record)
        now_ms = self._clock.now_ms()
        for record in records:
            self._log(record.topic, record.partition).append(record, now_ms)
        for topic in {record.topic for record in records}:
            self._appended.pop(topic, asyncio.Event()).set()

    async def read_range(
        self,
        topic: str,
        partition: int,
        start: int,
        end: int | None,
        take: Callable[[Sequence[Record]], None],
    ) -> int:
        log = self._log(topic, partition)
        stop = log.end if end is None else min(end, log.end)
        position = max(start, log.start)
        while position < stop:
            take(log.read(position, min(stop, position + _READ_RECORDS)))
            position = min(stop, position + _READ_RECORDS)
        return max(stop, start)

    @asynccontextmanager
    async def scan(
        self, topic: str, partition: int, start: int, end: int
    ) -> AsyncIterator[AsyncIterator[Sequence[Record]]]:
        yield self._runs(self._log(topic, partition), start, end)

    async def _runs(self, log: _Log, start: int, end: int) -> AsyncIterator[Sequence[Record]]:
        position, stop = max(start, log.start), min(end, log.end)
        while position < stop:
            yield log.read(position, min(stop, position + _READ_RECORDS))
            position += _READ_RECORDS

    async def offsets_at(self, topic: str, partition: int, time_ms: int) -> int:
        return self._log(topic, partition).offset_at(time_ms)

    async def ends(self, topic: str) -> dict[int, int]:
        return {number: self._log(topic, number).end for number in range(self._counts.get(topic, 1))}

    async def beginnings(self, topic: str) -> dict[int, int]:
        return {number: self._log(topic, number).start for number in range(self._counts.get(topic, 1))}

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        return dict(self._committed.get((group, topic), {}))

    async def subscribe_end(self, topic: str) -> MemorySubscription:
        return MemorySubscription(self, topic, await self.ends(topic))

    # What a broker does besides

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Set what a consumer group has committed."""
        self._committed.setdefault((group, topic), {})[partition] = offset

    def expire(self, topic: str, partition: int, before: int) -> None:
        """Drop the records before this offset, as retention does."""
        self._log(topic, partition).expire(before)

    def records(self, topic: str, partition: int = 0, start: int = 0) -> list[Record]:
        """What a partition holds from this offset on."""
        log = self._log(topic, partition)
        return log.read(max(start, log.start), log.end)

    async def appended(self, topic: str, timeout_s: float) -> None:
        """Return at the next publish to this topic, or after the timeout."""
        event = self._appended.setdefault(topic, asyncio.Event())
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return

    def _check(self, record: Outgoing) -> None:
        headers_bytes = sum(len(name) + len(value) for name, value in record.headers)
        if len(record.value or b"") + len(record.key or b"") + headers_bytes > MAX_RECORD_BYTES:
            raise BadInput(f"a record for {record.topic} has more than {MAX_RECORD_BYTES} bytes")
        if not 0 <= record.partition < self._counts.get(record.topic, 1):
            raise BadInput(f"{record.topic} has no partition {record.partition}")

    def _log(self, topic: str, partition: int) -> _Log:
        log = self._logs.get((topic, partition))
        if log is None:
            log = self._logs[topic, partition] = _Log()
        return log


class MemorySubscription:
    """`ports.Subscription` over a `MemoryBus`."""

    def __init__(self, bus: MemoryBus, topic: str, positions: dict[int, int]) -> None:
        self._bus = bus
        self._topic = topic
        self._positions = positions
        self._closed = False

    async def next_records(self, timeout_s: float) -> Sequence[Record]:
        records = self._take()
        if not records and not self._closed:
            await self._bus.appended(self._topic, timeout_s)
            records = self._take()
        return records

    async def caught_up(self) -> bool:
        return await self._bus.ends(self._topic) == self._positions

    async def close(self) -> None:
        self._closed = True

    def _take(self) -> list[Record]:
        if self._closed:
            return []
        taken: list[Record] = []
        for partition, position in self._positions.items():
            taken += self._bus.records(self._topic, partition, position)
        taken = sorted(taken, key=lambda record: record.timestamp_ms)[:_READ_RECORDS]
        for record in taken:
            self._positions[record.partition] = record.offset + 1
        return taken


class _Log:
    """One partition: its records from offset `start` on."""

    def __init__(self) -> None:
        self.start = 0
        self._records: list[Record] = []
        self._latest_ms = 0

    @property
    def end(self) -> int:
        return self.start + len(self._records)

    def append(self, record: Outgoing, now_ms: int) -> None:
        self._latest_ms = max(self._latest_ms, now_ms)
        self._records.append(
            Record(
                record.topic,
                record.partition,
                self.end,
                self._latest_ms if record.timestamp_ms is None else record.timestamp_ms,
                record.key,
                record.value,
                record.headers,
            )
        )

    def read(self, first: int, stop: int) -> list[Record]:
        return self._records[first - self.start : stop - self.start]

    def offset_at(self, time_ms: int) -> int:
        return self.start + bisect_left(self._records, time_ms, key=lambda record: record.timestamp_ms)

    def expire(self, before: int) -> None:
        kept_from = min(max(before, self.start), self.end)
        del self._records[: kept_from - self.start]
        self.start = kept_from
