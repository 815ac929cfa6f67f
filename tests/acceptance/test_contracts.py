"""The engines hold what the ports promise: the checks that their memory twins pass, on the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest

from infra.cassandra import CassandraHistory
from infra.clock import ManualClock, SystemClock
from infra.kafka import KafkaBus
from infra.kafka.topics import ensure_topics
from infra.ports import Outgoing, Record
from infra.redis import RedisRouteTable
from infra.redis_limits import RedisSharedLimits
from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.ids import new_name
from schemas.topics import ACCEPTED, TOPICS, outbound_topic
from tests.contracts import bus, history, route_table, shared_limits

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="module")]


def name_of(check: object) -> str:
    return getattr(check, "__name__", "")


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def redis_table(engines: Settings, clock: ManualClock) -> AsyncIterator[RedisRouteTable]:
    table = RedisRouteTable(engines, clock)
    await table.startup()
    yield table
    await table.shutdown()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kafka_bus(engines: Settings) -> AsyncIterator[KafkaBus]:
    log = KafkaBus(engines)
    await log.startup()
    yield log
    await log.shutdown()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own_topic(engines: Settings) -> str:
    """A topic that no stage reads or writes, made like im.accepted."""
    like = next(topic for topic in TOPICS if topic.name == ACCEPTED)
    topic = replace(like, name=f"im.checks.{new_name()}")
    await ensure_topics(engines, [topic])
    return topic.name


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cassandra_history(engines: Settings) -> AsyncIterator[CassandraHistory]:
    store = CassandraHistory(engines)
    await store.startup()
    yield store
    await store.shutdown()


@pytest.mark.parametrize("check", route_table.CHECKS, ids=name_of)
async def test_redis(check: route_table.Check, redis_table: RedisRouteTable, clock: ManualClock) -> None:
    """The route table in Redis passes the check."""

    async def elapse(seconds: float) -> None:
        # Leases run out by Redis's clock; what the table remembers of them grows old by ours.
        await asyncio.sleep(seconds)
        clock.advance(seconds + 1)

    await check(redis_table, elapse)


@pytest.mark.parametrize("check", bus.CHECKS, ids=name_of)
async def test_kafka(check: bus.Check, kafka_bus: KafkaBus, own_topic: str) -> None:
    """The log in Kafka passes the check."""
    await check(kafka_bus, own_topic)


async def test_a_read_fetches_nothing_before_its_start_and_little_for_one_record(
    kafka_bus: KafkaBus, own_topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that recovers asks for single records near the end of long logs: the driver would fetch from
    their beginning if it were told late where to read, and megabytes behind each of them."""
    await kafka_bus.publish([Outgoing(own_topic, 0, b"value") for _ in range(20)])
    end = (await kafka_bus.ends(own_topic))[0]
    fetched: list[tuple[int, int, int]] = []
    send = AIOKafkaClient.send

    async def noting(client: AIOKafkaClient, node: int, request: Any, **how: Any) -> Any:
        if isinstance(request, FetchRequest):
            fetched.extend(place for _, places in request.topics for place in places)
        return await send(client, node, request, **how)

    monkeypatch.setattr(AIOKafkaClient, "send", noting)
    for start in (end - 5, end - 9, end - 2):
        await kafka_bus.read_range(own_topic, 0, start, start + 1, lambda _: None)
    assert fetched
    assert min(offset for _, offset, _ in fetched) == end - 9
    assert max(most_bytes for _, _, most_bytes in fetched) <= 16_384


async def test_a_record_that_is_larger_than_expected_is_read_all_the_same(
    kafka_bus: KafkaBus, own_topic: str
) -> None:
    """The bound of a fetch is one of convenience."""
    await kafka_bus.publish([Outgoing(own_topic, 0, bytes(500_000))])
    end = (await kafka_bus.ends(own_topic))[0]
    found: list[Record] = []
    await kafka_bus.read_range(own_topic, 0, end - 1, end, found.extend)
    assert [len(record.value or b"") for record in found] == [500_000]


async def test_a_reader_keeps_knowing_where_topics_are(
    kafka_bus: KafkaBus, own_topic: str, engines: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver would ask anew at each change of topics, and forget the others."""
    like = next(topic for topic in TOPICS if topic.name == ACCEPTED)
    other = replace(like, name=f"im.checks.{new_name()}")
    await ensure_topics(engines, [other])
    topics = [own_topic, other.name]
    await kafka_bus.publish([Outgoing(topic, 0, b"value") for topic in topics])
    found: list[Record] = []

    async def read_both() -> None:
        for topic in topics:
            await kafka_bus.read_range(topic, 0, 0, None, found.extend)

    await read_both()
    asked = 0
    ask = AIOKafkaClient._metadata_update

    async def noting(*about: Any) -> Any:
        nonlocal asked
        asked += 1
        return await ask(*about)

    monkeypatch.setattr(AIOKafkaClient, "_metadata_update", noting)
    await read_both()
    assert {record.topic for record in found} == set(topics)
    assert not asked


async def test_a_record_for_a_gateway_keeps_the_time_that_it_is_given(
    kafka_bus: KafkaBus, engines: Settings
) -> None:
    """It may wait for the log; its reader then knows how old it is."""
    topic = outbound_topic(new_name())
    await ensure_topics(engines, [topic])
    said_ms = SystemClock().now_ms() - 4_000
    await kafka_bus.publish([Outgoing(topic.name, 0, b"v", timestamp_ms=said_ms)])
    found: list[Record] = []
    await kafka_bus.read_range(topic.name, 0, 0, None, found.extend)
    assert [record.timestamp_ms for record in found] == [said_ms]


async def test_a_topic_that_is_gone_is_said_to_be_gone(kafka_bus: KafkaBus) -> None:
    """A gateway's topic goes with it; who looks for a time in it is told just that."""
    with pytest.raises(Unavailable, match=r"there is no topic im\.outbound\.gone"):
        await kafka_bus.offsets_at("im.outbound.gone", 0, 0)


@pytest.mark.parametrize("check", history.CHECKS, ids=name_of)
async def test_cassandra(check: history.Check, cassandra_history: CassandraHistory) -> None:
    """The history in Cassandra passes the check."""
    await check(cassandra_history)


@pytest.mark.parametrize("check", shared_limits.CHECKS, ids=name_of)
async def test_redis_limits(check: shared_limits.Check, engines: Settings) -> None:
    """The shared limits in Redis pass the check."""
    limits = RedisSharedLimits(engines)
    try:
        await check(limits, asyncio.sleep)
    finally:
        await limits.shutdown()
