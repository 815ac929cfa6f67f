"""`infra.ports.Bus` on a real cluster: a publisher, and readers on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)

from infra.kafka.clients import (
    REQUEST_TIMEOUT_S,
    RETRY_PAUSE_S,
    connection,
    door,
    new_consumer,
    partitions_of,
    stop,
)
from infra.kafka.publisher import Publisher
from infra.partitioning import murmur2_partition
from infra.ports import Outgoing, Record
from infra.settings import Settings
from infra.together import together
from schemas.errors import Unavailable
from schemas.topics import MAX_RECORD_BYTES

__all__ = ["KafkaBus", "KafkaSubscription"]

_READ_RECORDS: Final = 5_000
_READ_BYTES: Final = 4 * MAX_RECORD_BYTES
"""Of one fetch, at most; fewer when few records are wanted, of which none is expected to be larger than
`_RECORD_BYTES`. One that is comes all the same, alone."""
_RECORD_BYTES: Final = 16 * 1024
_READERS: Final = 6
"""At once, and kept for the next `read_range`: a worker that joins recovers all its partitions side by side,
each with a dozen short questions, up to three of them at a time."""
_COORDINATOR_AWAY: Final = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)


class KafkaBus:
    """What it publishes keeps the promises of `Publisher`; what it reads moves nobody's offsets."""

    def __init__(self, settings: Settings, client_id: str = "skein") -> None:
        self._settings = settings
        self._client_id = client_id
        self._publisher = Publisher(settings, client_id)
        self._reader: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._idle: list[AIOKafkaConsumer] = []
        self._readers = asyncio.Semaphore(_READERS)

    async def startup(self) -> None:
        """Connect. Raises `Unavailable` if no broker answers."""
        async with door("connect to Kafka"):
            await self._publisher.startup()
            self._reader = await new_consumer(self._settings, self._client_id)
            self._admin = AIOKafkaAdminClient(**connection(self._settings))
            await self._admin.start()

    async def shutdown(self) -> None:
        """Send what was taken, within a bound, then disconnect."""
        await self._publisher.shutdown()
        await together(*(stop(reader) for reader in (*self._idle, self._reader) if reader is not None))
        self._idle.clear()
        if self._admin is not None:
            await self._admin.close()

    def partition_for(self, key: str) -> int:
        return murmur2_partition(key.encode(), self._settings.partitions)

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await self._publisher.publish(records)

    async def read_range(
        self,
        topic: str,
        partition: int,
        start: int,
        end: int | None,
        take: Callable[[Sequence[Record]], None],
    ) -> int:
        async with door(f"read {topic}[{partition}]"):
            place, first, until = await self._span(topic, partition)
            if end is not None:
                until = min(until, end)
            if max(start, first) < until:
                async with self._idle_reader() as consumer:
                    async for records in _runs(consumer, place, max(start, first), until):
                        take(records)
                    consumer.pause(place)
            return max(until, start)

    async def _span(self, topic: str, partition: int) -> tuple[TopicPartition, int, int]:
        """A partition, the first offset it has and the one behind its last."""
        place = TopicPartition(topic, partition)
        await self._places(topic)
        firsts, ends = await together(
            self._query.beginning_offsets([place]), self._query.end_offsets([place])
        )
        return place, firsts[place], ends[place]

    @asynccontextmanager
    async def _idle_reader(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A reader that nobody uses: a kept one, since each costs three connections, or a new one. Waits
        while all are in use. One whose use failed is not kept.
        """
        async with self._readers:
            reader = self._idle.pop() if self._idle else await new_consumer(self._settings, self._client_id)
            try:
                yield reader
            except BaseException:
                await stop(reader)
                raise
            self._idle.append(reader)

    @asynccontextmanager
    async def scan(
        self, topic: str, partition: int, start: int, end: int
    ) -> AsyncIterator[AsyncIterator[Sequence[Record]]]:
        async with door(f"read {topic}[{partition}]"):
            place, first, until = await self._span(topic, partition)
            consumer = await new_consumer(self._settings, self._client_id)
        try:
            yield _runs(consumer, place, max(start, first), min(until, end))
        finally:
            await stop(consumer)

    async def offsets_at(self, topic: str, partition: int, time_ms: int) -> int:
        place = TopicPartition(topic, partition)
        async with door(f"look up times in {topic}[{partition}]"):
            await self._places(topic)
            found = (await self._query.offsets_for_times({place: time_ms}))[place]
            if found is not None:
                return int(found.offset)
            return int((await self._query.end_offsets([place]))[place])

    async def ends(self, topic: str) -> dict[int, int]:
        async with door(f"look up the end of {topic}"):
            places = await self._places(topic)
            ends: Mapping[Any, int] = await self._query.end_offsets(places)
            return {place.partition: offset for place, offset in ends.items()}

    async def beginnings(self, topic: str) -> dict[int, int]:
        async with door(f"look up the beginning of {topic}"):
            places = await self._places(topic)
            firsts: Mapping[Any, int] = await self._query.beginning_offsets(places)
            return {place.partition: offset for place, offset in firsts.items()}

    async def _places(self, topic: str) -> list[TopicPartition]:
        """Every partition of a topic. Raises `Unavailable` if there is no such topic."""
        partitions = await partitions_of(self._query, topic)
        if not partitions:
            raise Unavailable(f"there is no topic {topic}")
        return [TopicPartition(topic, partition) for partition in partitions]

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        async with door(f"look up the offsets of {group}"):
            offsets = await self._committed(group)
            return {p.partition: o.offset for p, o in offsets.items() if p.topic == topic and o.offset >= 0}

    async def _committed(self, group: str) -> Mapping[Any, Any]:
        """A fresh cluster makes its offsets topic on the first question, and refuses to answer meanwhile."""
        assert self._admin is not None
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            while True:
                try:
                    offsets: Mapping[Any, Any] = await self._admin.list_consumer_group_offsets(group)
                    return offsets
                except _COORDINATOR_AWAY:
                    await asyncio.sleep(RETRY_PAUSE_S)

    async def subscribe_end(self, topic: str) -> KafkaSubscription:
        ends = await self.ends(topic)
        async with door(f"subscribe to {topic}"):
            consumer = await new_consumer(self._settings, self._client_id)
            consumer.assign([TopicPartition(topic, partition) for partition in ends])
            for partition, offset in ends.items():
                consumer.seek(TopicPartition(topic, partition), offset)
            return KafkaSubscription(consumer, topic)

    @property
    def _query(self) -> AIOKafkaConsumer:
        if self._reader is None:
            raise Unavailable("the log is not open")
        return self._reader


class KafkaSubscription:
    """`infra.ports.Subscription`: every partition of one topic, from where its end was."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic

    async def next_records(self, timeout_s: float) -> Sequence[Record]:
        async with door(f"read {self._topic}"):
            fetched = await self._consumer.getmany(
                timeout_ms=int(timeout_s * 1000), max_records=_READ_RECORDS
            )
            return [_record(record) for records in fetched.values() for record in records]

    async def caught_up(self) -> bool:
        async with door(f"look up the end of {self._topic}"):
            ends = await self._consumer.end_offsets(self._consumer.assignment())
            for place, end in ends.items():
                if await self._consumer.position(place) < end:
                    return False
            return True

    async def close(self) -> None:
        await stop(self._consumer)


async def _runs(
    consumer: AIOKafkaConsumer, place: TopicPartition, position: int, until: int
) -> AsyncIterator[Sequence[Record]]:
    """The records from `position` to before `until`, as they come.

    Nothing comes between assigning and seeking: the driver would fetch the beginning of the log meanwhile.
    """
    consumer._fetcher._max_partition_fetch_bytes = min(_READ_BYTES, (until - position) * _RECORD_BYTES)
    consumer.assign([place])
    consumer.seek(place, position)
    while position < until:
        async with door(f"read {place.topic}[{place.partition}]"):
            most = min(_READ_RECORDS, until - position)
            fetched = await consumer.getmany(place, timeout_ms=1_000, max_records=most)
            position = await consumer.position(place)
        records = [_record(r) for r in fetched.get(place, ()) if r.offset < until]
        if records:
            yield records


def _record(r: Any) -> Record:
    return Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)
