"""The door to Kafka; with the Faust transport in `pipeline/transport.py` the only importer of aiokafka.

Publishing goes by partition, in batches that form by themselves: a record for an idle partition
leaves at once, and what arrives while it is under way leaves together afterwards (measured:
`send()` 80,000 records/s, one built batch per partition 417,000).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
    TopicAlreadyExistsError,
)
from aiokafka.producer.message_accumulator import BatchBuilder

from infra.partitioning import murmur2_partition
from infra.ports import Outgoing, Record
from infra.settings import Settings
from schemas.errors import BadInput, OutcomeUnknown, SettingsError, Unavailable
from schemas.topics import MAX_RECORD_BYTES, TOPICS, Topic

__all__ = ["KafkaBus", "KafkaSubscription", "ensure_topics"]

log = structlog.get_logger(__name__)

_RECORD_OVERHEAD_BYTES: Final = 128
_BATCH_BYTES: Final = MAX_RECORD_BYTES + 4_096
_REQUEST_TIMEOUT_S: Final = 10.0
_RETRY_PAUSE_S: Final = 0.2
_BACKLOG_RECORDS: Final = 200_000
_READ_RECORDS: Final = 5_000
_COORDINATOR_AWAY: Final = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)
_NO_HEADERS: Final[list[tuple[str, bytes]]] = []


class _Parcel:
    """Records of one `publish` for one partition, and how many of them are acknowledged."""

    __slots__ = ("acked", "done", "records")

    def __init__(self, records: list[Outgoing], done: asyncio.Future[None]) -> None:
        self.records = records
        self.acked = 0
        self.done = done


class _Lane:
    """What waits for one partition, in order."""

    __slots__ = ("found", "partition", "queue", "running", "topic")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.queue: deque[_Parcel] = deque()
        self.running = False
        self.found = False


class KafkaBus:
    """`infra.ports.Bus` on a real cluster: one idempotent producer with acks=all, and readers on demand.

    What was taken by `publish` is sent until it is acknowledged: a producer that fails or goes quiet
    (aiokafka's idempotent producer never recovers from a refused batch, and never times out) is
    thrown away and the same records are sent by a new one, in the same order. So a record may be
    written twice, and none is skipped. The only refusals are `BadInput` for a record that is too
    large and `Unavailable` when the backlog is full; both come before anything is taken.
    """

    def __init__(self, settings: Settings, client_id: str = "skein") -> None:
        self._settings = settings
        self._client_id = client_id
        self._partitions = settings.partitions
        self._producer: AIOKafkaProducer | None = None
        self._replacing = asyncio.Lock()
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._backlog = 0
        self._closed = False
        self._reader: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None

    async def startup(self) -> None:
        """Connect. Raises `Unavailable` if no broker answers."""
        async with _door("connect to Kafka"):
            self._producer = await self._new_producer()
            self._reader = await self._new_consumer()
            self._admin = AIOKafkaAdminClient(bootstrap_servers=self._settings.kafka)
            await self._admin.start()

    async def shutdown(self) -> None:
        """Send what was taken, for at most the publish timeout, then disconnect."""
        deadline = asyncio.get_running_loop().time() + self._settings.publish_timeout_s
        while self._tasks and asyncio.get_running_loop().time() < deadline:
            await asyncio.wait(list(self._tasks), timeout=0.5)
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in (self._producer, self._reader):
            if client is not None:
                await _stop(client)
        if self._admin is not None:
            await self._admin.close()

    # Publishing

    @property
    def backlog(self) -> int:
        """Records taken and not yet acknowledged."""
        return self._backlog

    def partition_for(self, key: str) -> int:
        return murmur2_partition(key.encode(), self._partitions)

    async def publish(self, records: Sequence[Outgoing]) -> None:
        if not records:
            return
        self._check(records)
        loop = asyncio.get_running_loop()
        by_lane: dict[tuple[str, int], list[Outgoing]] = {}
        for record in records:
            by_lane.setdefault((record.topic, record.partition), []).append(record)
        waiting = []
        for place, group in by_lane.items():
            lane = self._lanes.get(place)
            if lane is None:
                lane = self._lanes[place] = _Lane(*place)
            parcel = _Parcel(group, loop.create_future())
            lane.queue.append(parcel)
            waiting.append(parcel.done)
            if not lane.running:
                lane.running = True
                task = loop.create_task(self._drain(lane))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self._backlog += len(records)
        if len(waiting) == 1:
            await waiting[0]
        else:
            await asyncio.gather(*waiting)

    def _check(self, records: Sequence[Outgoing]) -> None:
        if self._closed or self._producer is None:
            raise Unavailable("the log is not open")
        if self._backlog + len(records) > _BACKLOG_RECORDS:
            raise Unavailable(f"{self._backlog} records wait for the log already")
        for record in records:
            if _size(record) > MAX_RECORD_BYTES:
                raise BadInput(f"a record for {record.topic} has more than {MAX_RECORD_BYTES} bytes")

    async def _drain(self, lane: _Lane) -> None:
        """Send what waits for one partition, one batch at a time, until nothing waits."""
        try:
            while lane.queue:
                self._acknowledge(lane, await self._send_batch(lane))
        finally:
            lane.running = False
            self._abandon(lane)

    def _acknowledge(self, lane: _Lane, count: int) -> None:
        """The first `count` records of a lane are in the log: whoever waits for the last of his goes on."""
        self._backlog -= count
        while count:
            parcel = lane.queue[0]
            taken = min(count, len(parcel.records) - parcel.acked)
            parcel.acked += taken
            count -= taken
            if parcel.acked == len(parcel.records):
                lane.queue.popleft()
                if not parcel.done.done():
                    parcel.done.set_result(None)

    def _abandon(self, lane: _Lane) -> None:
        """Whoever still waits for this partition learns that nobody sends for it any more."""
        for parcel in lane.queue:
            self._backlog -= len(parcel.records) - parcel.acked
            if not parcel.done.done():
                parcel.done.set_exception(OutcomeUnknown(f"sending to {lane.topic} was given up"))
                parcel.done.exception()
        lane.queue.clear()

    async def _send_batch(self, lane: _Lane) -> int:
        """Get the first records of a lane acknowledged, however long it takes; how many they were."""
        while True:
            producer = self._producer
            assert producer is not None
            batch = producer.create_batch()
            count = _fill(batch, lane.queue)
            try:
                async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                    if (
                        not lane.found
                        and lane.topic not in (await producer.client.fetch_all_metadata()).topics()
                    ):
                        # Only a gateway's topic can be missing: all others were checked at start.
                        log.error("publish.no_such_topic", topic=lane.topic, dropped=count)
                        return count
                    lane.found = True
                    await (await producer.send_batch(batch, lane.topic, partition=lane.partition))
                return count
            except (KafkaError, TimeoutError, AssertionError, AttributeError, OSError) as error:
                # AssertionError, AttributeError: what a poisoned aiokafka producer raises (pitfalls 22, 24).
                log.warning(
                    "publish.retry",
                    topic=lane.topic,
                    partition=lane.partition,
                    records=count,
                    error=repr(error),
                )
                await self._replace(producer)

    async def _replace(self, failed: AIOKafkaProducer) -> None:
        """Make a new producer unless somebody has done so already."""
        await asyncio.sleep(_RETRY_PAUSE_S)
        async with self._replacing:
            if self._producer is not failed:
                return
            try:
                fresh = await self._new_producer()
            except (KafkaError, TimeoutError, OSError) as error:
                log.warning("publish.no_broker", error=repr(error))
                return
            self._producer = fresh
        await _stop(failed)

    async def _new_producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=_BATCH_BYTES,
            max_request_size=_BATCH_BYTES + _RECORD_OVERHEAD_BYTES,
            request_timeout_ms=int(_REQUEST_TIMEOUT_S * 1000),
        )
        await _start(producer)
        return producer

    # Reading

    async def read_range(
        self,
        topic: str,
        partition: int,
        start: int,
        end: int | None,
        take: Callable[[Sequence[Record]], None],
    ) -> int:
        place = TopicPartition(topic, partition)
        async with _door(f"read {topic}[{partition}]"):
            consumer = await self._new_consumer()
            try:
                consumer.assign([place])
                first = (await consumer.beginning_offsets([place]))[place]
                stop: int = (await consumer.end_offsets([place]))[place]
                if end is not None:
                    stop = min(stop, end)
                position = max(start, first)
                consumer.seek(place, position)
                while position < stop:
                    fetched = await consumer.getmany(place, timeout_ms=1_000, max_records=_READ_RECORDS)
                    records = [r for r in fetched.get(place, ()) if r.offset < stop]
                    if records:
                        take([_record(r) for r in records])
                    position = await consumer.position(place)
                return max(stop, start)
            finally:
                await _stop(consumer)

    async def offsets_at(self, topic: str, partition: int, time_ms: int) -> int:
        place = TopicPartition(topic, partition)
        async with _door(f"look up times in {topic}[{partition}]"):
            found = (await self._query.offsets_for_times({place: time_ms}))[place]
            if found is not None:
                return int(found.offset)
            return int((await self._query.end_offsets([place]))[place])

    async def ends(self, topic: str) -> dict[int, int]:
        async with _door(f"look up the end of {topic}"):
            partitions = self._query.partitions_for_topic(topic)
            if not partitions:
                partitions = (await self._query._client.fetch_all_metadata()).partitions_for_topic(topic)
            if not partitions:
                raise Unavailable(f"there is no topic {topic}")
            places = [TopicPartition(topic, partition) for partition in partitions]
            ends: Mapping[Any, int] = await self._query.end_offsets(places)
            return {place.partition: offset for place, offset in ends.items()}

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        async with _door(f"look up the offsets of {group}"):
            offsets = await self._committed(group)
            return {p.partition: o.offset for p, o in offsets.items() if p.topic == topic and o.offset >= 0}

    async def _committed(self, group: str) -> Mapping[Any, Any]:
        """A fresh cluster makes its offsets topic on the first question, and refuses to answer meanwhile."""
        assert self._admin is not None
        async with asyncio.timeout(_REQUEST_TIMEOUT_S):
            while True:
                try:
                    offsets: Mapping[Any, Any] = await self._admin.list_consumer_group_offsets(group)
                    return offsets
                except _COORDINATOR_AWAY:
                    await asyncio.sleep(_RETRY_PAUSE_S)

    async def subscribe_end(self, topic: str) -> KafkaSubscription:
        ends = await self.ends(topic)
        async with _door(f"subscribe to {topic}"):
            consumer = await self._new_consumer()
            consumer.assign([TopicPartition(topic, partition) for partition in ends])
            for partition, offset in ends.items():
                consumer.seek(TopicPartition(topic, partition), offset)
            return KafkaSubscription(consumer, topic)

    @property
    def _query(self) -> AIOKafkaConsumer:
        if self._reader is None:
            raise Unavailable("the log is not open")
        return self._reader

    async def _new_consumer(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka,
            client_id=self._client_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4 * MAX_RECORD_BYTES,
            request_timeout_ms=int(_REQUEST_TIMEOUT_S * 1000),
        )
        await _start(consumer)
        return consumer


class KafkaSubscription:
    """`infra.ports.Subscription`: every partition of one topic, from where its end was."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic

    async def next_records(self, timeout_s: float) -> Sequence[Record]:
        async with _door(f"read {self._topic}"):
            fetched = await self._consumer.getmany(
                timeout_ms=int(timeout_s * 1000), max_records=_READ_RECORDS
            )
            return [_record(record) for records in fetched.values() for record in records]

    async def caught_up(self) -> bool:
        async with _door(f"look up the end of {self._topic}"):
            ends = await self._consumer.end_offsets(self._consumer.assignment())
            for place, end in ends.items():
                if await self._consumer.position(place) < end:
                    return False
            return True

    async def close(self) -> None:
        await _stop(self._consumer)


async def ensure_topics(settings: Settings, topics: Iterable[Topic] = TOPICS) -> list[str]:
    """Create the topics that are missing and return their names.

    Raises `SettingsError` if one exists with another partition count: conversations would move to
    other partitions and their order would be lost.
    """
    wanted = list(topics)
    async with _door("create topics"):
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
        await admin.start()
        try:
            existing = set(await admin.list_topics())
            for found in await admin.describe_topics([t.name for t in wanted if t.name in existing]):
                topic = next(t for t in wanted if t.name == found["topic"])
                count, expected = len(found["partitions"]), _partitions(topic, settings)
                if count != expected:
                    raise SettingsError(
                        f"topic {topic.name} has {count} partitions, IM_PARTITIONS asks for {expected}: "
                        "keep the number, or start with new topics"
                    )
            missing = [_new_topic(t, settings) for t in wanted if t.name not in existing]
            if missing:
                response = await admin.create_topics(missing)
                for name, code, *text in response.topic_errors:
                    if code not in (0, TopicAlreadyExistsError.errno):
                        raise Unavailable(f"Kafka refused to create {name}: {text}")
            return [t.name for t in missing]
        finally:
            await admin.close()


def _fill(batch: BatchBuilder, parcels: Iterable[_Parcel]) -> int:
    """Put the first records into a batch until it is full; how many they were."""
    count = 0
    for parcel in parcels:
        for record in islice(parcel.records, parcel.acked, None):
            headers = list(record.headers) if record.headers else _NO_HEADERS
            if batch.append(timestamp=None, key=record.key, value=record.value, headers=headers) is None:
                return count
            count += 1
    return count


def _new_topic(topic: Topic, settings: Settings) -> NewTopic:
    config = {
        "retention.ms": str(topic.retention_ms),
        # A limit on whole batches: one record of the largest size must fit with its framing.
        "max.message.bytes": str(2 * MAX_RECORD_BYTES),
        "min.insync.replicas": str(settings.min_insync_replicas),
        **topic.config,
    }
    return NewTopic(
        name=topic.name,
        num_partitions=_partitions(topic, settings),
        replication_factor=settings.replication_factor,
        topic_configs=config,
    )


def _partitions(topic: Topic, settings: Settings) -> int:
    return settings.partitions if topic.per_conversation else 1


def _size(record: Outgoing) -> int:
    size = _RECORD_OVERHEAD_BYTES + len(record.value or b"") + len(record.key or b"")
    for name, value in record.headers:
        size += len(name) + len(value) + 8
    return size


def _record(r: Any) -> Record:
    return Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)


async def _start(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Start a client, or leave nothing of it behind."""
    try:
        async with asyncio.timeout(_REQUEST_TIMEOUT_S):
            await client.start()
    except BaseException:
        await _stop(client)
        raise


async def _stop(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Stop a client within a bound: a producer whose broker is gone would wait for ever (pitfall 20)."""
    try:
        async with asyncio.timeout(2.0):
            await client.stop()
    except (KafkaError, TimeoutError, OSError, AttributeError, AssertionError) as error:
        log.debug("kafka.stop", error=repr(error))


@asynccontextmanager
async def _door(doing: str) -> AsyncIterator[None]:
    """Whatever the driver raises inside becomes `Unavailable`."""
    try:
        yield
    except (KafkaError, TimeoutError, OSError) as error:
        raise Unavailable(f"cannot {doing}: {error!r}") from error
