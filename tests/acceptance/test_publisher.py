"""The publisher on a real broker, where its driver has habits of its own."""

from __future__ import annotations

import asyncio

import pytest

from infra.kafka.publisher import Publisher
from infra.kafka.topics import ensure_topics
from infra.ports import Outgoing
from infra.settings import Settings
from schemas.ids import new_message_id
from schemas.topics import outbound_topic
from tests.acceptance.patience import PATIENCE_S

pytestmark = pytest.mark.acceptance

_PUBLISHERS = 3
_BUSY_TOPICS = 8


async def test_a_new_topic_holds_up_no_other(engines: Settings) -> None:
    """While a gateway's topic is added, every batch for another topic keeps its leader."""
    busy = [await _new_topic(engines) for _ in range(_BUSY_TOPICS)]
    for number in range(_PUBLISHERS):
        publisher = Publisher(engines, f"publisher-{number}")
        await publisher.startup()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await _add_a_topic_under_load(engines, publisher, busy)
        finally:
            await publisher.shutdown()


async def _add_a_topic_under_load(engines: Settings, publisher: Publisher, busy: list[str]) -> None:
    first, added = publisher._producer, asyncio.Event()
    # As after any lost connection: the driver asks for all topics when it was told of none.
    assert first is not None
    await first.client.force_metadata_update()

    async def keep_publishing(topic: str) -> None:
        while not added.is_set():
            await publisher.publish([Outgoing(topic, 0, b"x")])

    async def add() -> None:
        await publisher.publish([Outgoing(await _new_topic(engines), 0, b"x")])
        added.set()

    await asyncio.gather(add(), *(keep_publishing(topic) for topic in busy))
    assert publisher._producer is first, "a batch failed, and its producer was thrown away"


async def _new_topic(engines: Settings) -> str:
    topic = outbound_topic(new_message_id())
    await ensure_topics(engines, [topic])
    return topic.name
