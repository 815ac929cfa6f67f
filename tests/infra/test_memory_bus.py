"""What the log in memory does besides the port: time, retention, commits."""

from __future__ import annotations

import asyncio

import pytest

from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.ports import Outgoing, Record
from schemas.errors import BadInput
from schemas.topics import ACCEPTED, MESSAGES


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000)


@pytest.fixture
def bus(clock: ManualClock) -> MemoryBus:
    return MemoryBus(2, clock)


async def test_a_record_keeps_the_time_that_it_is_given(bus: MemoryBus) -> None:
    await bus.publish([Outgoing("im.outbound.gw-1", 0, b"v", timestamp_ms=7)])
    assert [record.timestamp_ms for record in bus.records("im.outbound.gw-1")] == [7]


async def test_records_are_stamped_as_they_are_appended(bus: MemoryBus, clock: ManualClock) -> None:
    """The time of a record is the clock's, and never falls even if the clock does."""
    for step_s in (0.0, 0.5, -0.2):
        clock.advance(step_s)
        await bus.publish([Outgoing(ACCEPTED, 0, b"v")])
    assert [record.timestamp_ms for record in bus.records(ACCEPTED)] == [1_000, 1_500, 1_500]
    assert await bus.offsets_at(ACCEPTED, 0, 1_001) == 1
    assert await bus.offsets_at(ACCEPTED, 0, 1_501) == 3


async def test_a_range_begins_where_the_log_begins(bus: MemoryBus) -> None:
    """Records that retention dropped are passed over, and offsets stay what they were."""
    await bus.publish([Outgoing(MESSAGES, 0, str(i).encode()) for i in range(5)])
    bus.expire(MESSAGES, 0, before=3)
    taken: list[Record] = []
    assert await bus.read_range(MESSAGES, 0, 0, None, taken.extend) == 5
    assert [(record.offset, record.value) for record in taken] == [(3, b"3"), (4, b"4")]


async def test_commits_are_what_was_set(bus: MemoryBus) -> None:
    """Each group has its own commits of each topic."""
    bus.commit("im.persistence", MESSAGES, 1, 7)
    assert await bus.committed("im.persistence", MESSAGES) == {1: 7}
    assert await bus.committed("im.fanout", MESSAGES) == {}


async def test_a_waiting_subscription_wakes_up_at_a_publish(bus: MemoryBus) -> None:
    """It does not wait for its timeout."""
    subscription = await bus.subscribe_end(MESSAGES)
    waiting = asyncio.create_task(subscription.next_records(60.0))
    await asyncio.sleep(0)
    await bus.publish([Outgoing(MESSAGES, 1, b"v")])
    assert [record.value for record in await waiting] == [b"v"]


async def test_a_closed_subscription_gives_nothing(bus: MemoryBus) -> None:
    """And returns at once."""
    subscription = await bus.subscribe_end(MESSAGES)
    await subscription.close()
    await bus.publish([Outgoing(MESSAGES, 0, b"v")])
    assert list(await subscription.next_records(60.0)) == []


async def test_a_partition_that_is_not_there_is_refused(bus: MemoryBus) -> None:
    """Conversation topics have the partitions that were asked for, others one."""
    for topic in (MESSAGES, "im.outbound.gw-1"):
        with pytest.raises(BadInput):
            await bus.publish([Outgoing(topic, 2, b"v")])
    await bus.publish([Outgoing("im.outbound.gw-1", 0, b"v")])
    assert await bus.ends("im.outbound.gw-1") == {0: 1}
