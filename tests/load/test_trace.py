"""How long a trace takes in large topics of a real Kafka: bounded reads, whatever their length."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from infra.ports import Record
from infra.settings import Settings
from pipeline.ops.doors import open_doors
from pipeline.ops.traces.trace import Evidence, trace_of
from pipeline.ops.traces.trace_reader import gather
from pipeline.persistence.rows import rows_of
from pipeline.topology import group_of
from schemas.codec import ACCEPTED, DECISION, INBOUND, MESSAGE
from schemas.ids import new_message_id
from schemas.records import Decision, Inbound, Message
from schemas.topics import ACCEPTED as ACCEPTED_TOPIC
from schemas.topics import INBOUND as INBOUND_TOPIC
from schemas.topics import MESSAGES, MODERATION
from tests.builders import an_inbound

pytestmark = [pytest.mark.load, pytest.mark.acceptance, pytest.mark.timeout(3_000)]

MESSAGES_COUNT: Final = int(os.environ.get("SKEIN_TRACE_MESSAGES", "10000000"))
SPAN_MS: Final = 3_600_000
MAX_READ: Final = 200_000
"""Records that one trace may read: 2 % of ten million."""
TALK: Final = "d:alice:bob"


class Filling:
    """One partition's worth of one topic: message number n is at offset n, spread evenly over an hour."""

    def __init__(self, producer: AIOKafkaProducer, partition: int, start_ms: int) -> None:
        self._producer = producer
        self._partition = partition
        self._start_ms = start_ms

    def time_ms(self, number: int) -> int:
        return self._start_ms + number * SPAN_MS // MESSAGES_COUNT

    async def fill(self, topic: str, value_of: Callable[[int], bytes]) -> None:
        """Write the topic, a full batch at a time."""
        number = 0
        waiting: list[asyncio.Future[Any]] = []
        while number < MESSAGES_COUNT:
            batch = self._producer.create_batch()
            while number < MESSAGES_COUNT and batch.append(
                key=None, value=value_of(number), timestamp=self.time_ms(number)
            ):
                number += 1
            batch.close()
            sent = self._producer.send_batch(batch, topic, partition=self._partition)
            waiting.append(await sent)
            if len(waiting) >= 8:
                await waiting.pop(0)
        await asyncio.gather(*waiting)


async def test_a_trace_in_large_topics(engines: Settings) -> None:
    """One message among millions in each topic is found by reading a few of them."""
    start_ms = int(time.time() * 1000) - SPAN_MS
    middle = MESSAGES_COUNT // 2
    producer = AIOKafkaProducer(bootstrap_servers=engines.kafka, acks="all", max_batch_size=900_000)
    await producer.start()
    async with open_doors(engines, "bus", "routes", "history") as doors:
        partition = doors.bus.partition_for(TALK)
        filling = Filling(producer, partition, start_ms)
        made_ms = filling.time_ms(middle)
        time_hex = f"{made_ms:012x}"
        message_id = f"{time_hex[:8]}-{time_hex[8:]}{new_message_id()[13:]}"
        asked = an_inbound(conversation_id=TALK, message_id=message_id)
        message = Message(1, middle, made_ms, **msgspec.structs.asdict(asked))
        try:
            for topic, value_of in writers(asked, message, middle):
                await filling.fill(topic, value_of)
        finally:
            await producer.stop()
        await doors.history.write(rows_of(message))
        await commit(engines, partition)
        read = counting(doors.bus)
        took, found = [], Evidence(message_id=message_id, made_at_ms=made_ms)
        for _ in range(5):
            began, busy = time.perf_counter(), time.process_time()
            found = await gather(doors, message_id)
            took.append((time.perf_counter() - began, time.process_time() - busy))
    trace = trace_of(found)
    waited, worked = (sorted(round(times[n], 2) for times in took) for n in (0, 1))
    cost = f"{sum(read) // 5:,} records read, {waited} s, of processor {worked} s"
    sys.stdout.write(f"\n{MESSAGES_COUNT:,} messages: {cost}\n")
    assert trace.outcome == "sent"
    assert [hop.what for hop in trace.hops][:5] == ["accepted", "passed", "passed on", "sequenced", "stored"]
    assert sum(read) / 5 < MAX_READ


def writers(asked: Inbound, message: Message, middle: int) -> list[tuple[str, Callable[[int], bytes]]]:
    """For each topic what stands at each offset: like the one that is looked for, but for its id."""
    other = msgspec.structs.replace(asked, message_id=new_message_id())
    filler, body = INBOUND.encode(other), INBOUND.split(INBOUND.encode(other))[2]
    own, own_body = INBOUND.encode(asked), INBOUND.split(INBOUND.encode(asked))[2]
    decision = DECISION.encode(
        Decision(0, TALK, other.message_id, other.sender, other.client_msg_id, "accept", 0, [], 1)
    )
    rest = decision[len(DECISION.framing) + 1 :]
    """What stands behind the offset, which takes one byte here."""

    def inbound(number: int) -> bytes:
        return own if number == middle else filler

    def accepted(number: int) -> bytes:
        return ACCEPTED.splice({"source_offset": number}, own_body if number == middle else body)

    def decided(number: int) -> bytes:
        like_it = ACCEPTED.splice({"source_offset": number}, rest)  # begins with the same number
        return DECISION.framing + like_it[len(ACCEPTED.framing) :]

    def messages(number: int) -> bytes:
        prefix = {"seq": number + 1, "source_offset": number, "sent_at_ms": message.sent_at_ms}
        if number == middle:
            return MESSAGE.splice({**prefix, "seq": 1}, own_body)
        return MESSAGE.splice(prefix, body)

    return [
        (INBOUND_TOPIC, inbound),
        (ACCEPTED_TOPIC, accepted),
        (MODERATION, decided),
        (MESSAGES, messages),
    ]


async def commit(settings: Settings, partition: int) -> None:
    """Every stage has handled everything."""
    for stage, topic in (
        ("moderation", INBOUND_TOPIC),
        ("sequencing", ACCEPTED_TOPIC),
        ("persistence", MESSAGES),
    ):
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka, group_id=group_of(stage), enable_auto_commit=False
        )
        await consumer.start()
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        await consumer.commit({place: MESSAGES_COUNT})
        await consumer.stop()


def counting(bus: Any) -> list[int]:
    """Notes how many records each read hands out."""
    read: list[int] = []
    read_range = bus.read_range

    async def counted(
        topic: str, partition: int, start: int, end: int | None, take: Callable[[Sequence[Record]], None]
    ) -> int:
        def noting(records: Sequence[Record]) -> None:
            read.append(len(records))
            take(records)

        end_offset: int = await read_range(topic, partition, start, end, noting)
        return end_offset

    bus.read_range = counted
    return read
