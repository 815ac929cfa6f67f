"""Records that nobody should have written, and records that are gone before they were read."""

from __future__ import annotations

import signal
from collections.abc import Callable
from random import Random
from typing import Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from infra.ports import Outgoing
from schemas.codec import INBOUND
from schemas.topics import ACCEPTED, DEAD_LETTERS, MESSAGES, outbound_topic
from schemas.topics import INBOUND as INBOUND_TOPIC
from tests.faults.arena import GATEWAYS, Arena
from tests.faults.nemesis.fault import Fault

__all__ = ["BadRecords", "TruncatedOutbound", "odd_schema", "poison", "truncated_outbound"]

HUGE_BYTES: Final = 600_000
COUNT: Final = 5


class BadRecords(Fault):
    """Some records on one partition of a topic. They hold when as many dead letters have come of them."""

    hold_timeout_s = 60.0

    def __init__(self, arena: Arena, topic: str, partition: int, values: list[bytes | None]) -> None:
        super().__init__(arena, f"{topic}[{partition}]")
        self._records = [Outgoing(topic, partition, value, b"g:nobody") for value in values]
        self._before = 0

    async def inject(self) -> None:
        self._before = await self._dead()
        await self.arena.bus.publish(self._records)

    async def took_hold(self) -> str | None:
        new = await self._dead() - self._before
        return f"{new} dead letters of {len(self._records)}" if new >= len(self._records) else None

    async def heal(self) -> None:
        """The partition has moved on by itself, or nothing can be done about it."""

    async def healed(self) -> str | None:
        return await self.took_hold()

    async def _dead(self) -> int:
        return sum((await self.arena.bus.ends(DEAD_LETTERS)).values())


class TruncatedOutbound(Fault):
    """A gateway stands still while what is meant for it is deleted: retention that passes a consumer.

    It must find out from the heads, and its clients by pulling; nothing else has these deliveries.
    """

    lasts_s = 0.5

    def __init__(self, arena: Arena, target: str, waits_s: float) -> None:
        super().__init__(arena, target)
        self.lasts_s = waits_s
        self._topic = outbound_topic(target).name
        self._deleted = 0

    async def inject(self) -> None:
        self._before = (await self.arena.bus.ends(self._topic))[0]
        self.arena.signal(self.target, signal.SIGSTOP)

    async def took_hold(self) -> str | None:
        end = (await self.arena.bus.ends(self._topic))[0]
        if end <= self._before:
            return None
        await self._delete(end)
        self._deleted = end - self._before
        return f"{self._deleted} deliveries were deleted unread"

    async def heal(self) -> None:
        self.arena.signal(self.target, signal.SIGCONT)

    async def healed(self) -> str | None:
        return "it is ready" if await self.arena.is_ready(self.target) else None

    async def _delete(self, end: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.arena.settings.kafka)
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(self._topic, 0): RecordsToDelete(before_offset=end)})
        finally:
            await admin.close()


def poison(arena: Arena, random: Random) -> Fault:
    """Bytes that are no record of ours: none, few, cut short, huge."""
    framing = INBOUND.framing
    kinds: list[Callable[[], bytes | None]] = [
        lambda: b"",
        lambda: None,
        lambda: random.randbytes(random.randint(1, 200)),
        lambda: framing + random.randbytes(random.randint(1, 40)),
        lambda: random.randbytes(HUGE_BYTES),
    ]
    topic = random.choice((INBOUND_TOPIC, ACCEPTED, MESSAGES))
    values = [make() for make in random.sample(kinds, COUNT)]
    if topic == MESSAGES:  # two stages read it, and each buries what it cannot read
        values = values[:2]
    return BadRecords(arena, topic, random.randrange(arena.settings.partitions), values)


def odd_schema(arena: Arena, random: Random) -> Fault:
    """Well-formed frames of schemas that are not ours: unknown ids, and a record of another topic."""
    newer = (INBOUND.schema_id + 1_000).to_bytes(4, "big")
    values: list[bytes | None] = [
        b"\x00" + newer + random.randbytes(60),
        b"\x00\xff\xff\xff\xff" + random.randbytes(20),
        b"\x01" + newer + random.randbytes(60),
        b"\x00",
    ]
    topic = random.choice((INBOUND_TOPIC, ACCEPTED))
    return BadRecords(arena, topic, random.randrange(arena.settings.partitions), values)


def truncated_outbound(arena: Arena, random: Random) -> Fault:
    return TruncatedOutbound(arena, random.choice(GATEWAYS), random.uniform(0.5, 2.0))
