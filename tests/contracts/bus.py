"""What `ports.Bus` promises, as checks.

They share a topic, so each reads from the end it found. It is nobody else's: a reader of a topic of the path
would bury what they leave there, and whoever writes into one would come in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import pytest

from infra.partitioning import murmur2_partition
from infra.ports import Bus, Outgoing, Record
from schemas.errors import BadInput
from schemas.ids import new_name
from schemas.topics import MAX_RECORD_BYTES

__all__ = ["CHECKS", "Check"]

Check = Callable[[Bus, str], Awaitable[None]]
"""With a topic of two partitions or more, whose records the log stamps."""

WAIT_S: Final = 10.0


def outgoing(topic: str, count: int, partition: int = 0) -> list[Outgoing]:
    return [Outgoing(topic, partition, f"{new_name()}:{i}".encode(), b"key") for i in range(count)]


async def read(bus: Bus, topic: str, start: int, end: int | None = None, partition: int = 0) -> list[Record]:
    records: list[Record] = []
    await bus.read_range(topic, partition, start, end, records.extend)
    return records


async def check_what_is_published_is_read_in_order(bus: Bus, topic: str) -> None:
    start, sent = (await bus.ends(topic))[0], outgoing(topic, 50)
    await bus.publish(sent[:20])
    await bus.publish(sent[20:])
    records = await read(bus, topic, start)
    assert [record.value for record in records] == [record.value for record in sent]
    assert [record.offset for record in records] == list(range(start, start + 50))
    assert (await bus.ends(topic))[0] == start + 50


async def check_a_record_keeps_all_its_parts(bus: Bus, topic: str) -> None:
    start = (await bus.ends(topic))[1]
    await bus.publish([Outgoing(topic, 1, None, b"k", (("h", b"1"), ("h", b"2"))), Outgoing(topic, 1, b"v")])
    first, second = await read(bus, topic, start, partition=1)
    assert (first.topic, first.partition, first.key, first.value) == (topic, 1, b"k", None)
    assert tuple(first.headers) == (("h", b"1"), ("h", b"2"))
    assert (second.key, second.value, tuple(second.headers)) == (None, b"v", ())


async def check_a_range_ends_where_it_is_told(bus: Bus, topic: str) -> None:
    start, sent = (await bus.ends(topic))[0], outgoing(topic, 10)
    await bus.publish(sent)
    assert [record.value for record in await read(bus, topic, start + 2, start + 5)] == [
        record.value for record in sent[2:5]
    ]
    taken: list[Record] = []
    assert await bus.read_range(topic, 0, start + 2, start + 5, taken.extend) == start + 5
    assert await bus.read_range(topic, 0, start, None, taken.extend) == start + 10
    assert await read(bus, topic, start + 10) == []


async def check_many_ranges_are_read_side_by_side(bus: Bus, topic: str) -> None:
    """More than there are readers, of either partition, each its own."""
    starts, sent = await bus.ends(topic), [outgoing(topic, 40, partition) for partition in (0, 1)]
    await bus.publish([*sent[0], *sent[1]])
    asked = [(partition, at) for at in range(30) for partition in (0, 1)]
    found = await asyncio.gather(
        *(read(bus, topic, starts[p] + at, starts[p] + at + at % 7 + 1, p) for p, at in asked)
    )
    for (partition, at), records in zip(asked, found, strict=True):
        wanted = sent[partition][at : at + at % 7 + 1]
        assert [record.value for record in records] == [record.value for record in wanted]


async def check_a_scan_brings_its_range_in_order_and_no_more(bus: Bus, topic: str) -> None:
    start, sent = (await bus.ends(topic))[0], outgoing(topic, 30)
    await bus.publish(sent)
    for end, count in ((start + 20, 20), (start + 1_000_000, 30), (start, 0)):
        async with bus.scan(topic, 0, start, end) as runs:
            got = [record.value async for records in runs for record in records]
        assert got == [record.value for record in sent[:count]]
    async with bus.scan(topic, 0, start, start + 30) as runs:
        async for records in runs:
            assert records[0].offset == start
            break


async def check_a_topic_begins_no_later_than_it_ends(bus: Bus, topic: str) -> None:
    await bus.publish(outgoing(topic, 1))
    beginnings, ends = await bus.beginnings(topic), await bus.ends(topic)
    assert beginnings.keys() == ends.keys()
    assert all(beginnings[partition] <= ends[partition] for partition in ends)
    assert beginnings[0] < ends[0]


async def check_a_record_too_large_is_refused_before_any_is_sent(bus: Bus, topic: str) -> None:
    start = (await bus.ends(topic))[0]
    with pytest.raises(BadInput):
        await bus.publish([*outgoing(topic, 1), Outgoing(topic, 0, bytes(MAX_RECORD_BYTES + 1))])
    assert (await bus.ends(topic))[0] == start


async def check_nothing_to_publish_is_no_error(bus: Bus, topic: str) -> None:
    await bus.publish([])


async def check_a_conversation_has_the_partition_of_every_kafka_client(bus: Bus, topic: str) -> None:
    partitions = len(await bus.ends(topic))
    for conversation_id in ("d:alice:bob", "g:team", "c:news"):
        assert bus.partition_for(conversation_id) == murmur2_partition(conversation_id.encode(), partitions)


async def check_accepted_records_are_stamped_by_the_log_and_found_by_time(bus: Bus, topic: str) -> None:
    start = (await bus.ends(topic))[0]
    await bus.publish(outgoing(topic, 3))
    times = [record.timestamp_ms for record in await read(bus, topic, start)]
    assert times == sorted(times)
    assert await bus.offsets_at(topic, 0, times[0]) <= start
    assert await bus.offsets_at(topic, 0, times[-1] + 1) == start + 3


async def check_a_group_without_commits_has_none(bus: Bus, topic: str) -> None:
    assert await bus.committed(f"group-{new_name()}", topic) == {}


async def check_a_subscription_begins_at_the_end_and_misses_nothing(bus: Bus, topic: str) -> None:
    await bus.publish(outgoing(topic, 3))
    subscription = await bus.subscribe_end(topic)
    try:
        assert await subscription.caught_up()
        sent = [*outgoing(topic, 5), *outgoing(topic, 5, partition=1)]
        await bus.publish(sent)
        assert not await subscription.caught_up()
        got: list[Record] = []
        while len(got) < len(sent) and (records := await subscription.next_records(WAIT_S)):
            got.extend(records)
        for partition in (0, 1):
            assert [record.value for record in got if record.partition == partition] == [
                record.value for record in sent if record.partition == partition
            ]
        assert await subscription.caught_up()
        assert list(await subscription.next_records(0.01)) == []
    finally:
        await subscription.close()


CHECKS: Final[Sequence[Check]] = [
    check for name, check in list(globals().items()) if name.startswith("check_")
]
