"""Making the topics, and refusing a cluster whose topics are not ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

from infra.kafka.clients import connection, door
from infra.settings import Settings
from schemas.errors import SettingsError, Unavailable
from schemas.topics import MAX_RECORD_BYTES, TOPICS, Topic

__all__ = ["ensure_offsets_topic", "ensure_topics"]

_OFFSETS: Final = "__consumer_offsets"
_SHORT: Final = {
    "cleanup.policy": "compact",
    "segment.bytes": "1048576",
    "segment.ms": "20000",  # what is no longer the newest segment is compacted within 15 s
}


async def ensure_topics(settings: Settings, topics: Iterable[Topic] = TOPICS) -> list[str]:
    """Create the topics that are missing and return their names.

    Raises `SettingsError` if one exists with another partition count: conversations would move to
    other partitions and their order would be lost.
    """
    wanted = list(topics)
    async with _admin(settings) as admin:
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
            await _create(admin, missing)
        return [t.name for t in missing]


async def ensure_offsets_topic(settings: Settings, partitions: int) -> None:
    """Make Kafka's own topic of commits, unless there is one, so short that it is read in a moment.

    A killed broker of 4.1 is made leader of it twice when it comes back, and takes the end of the first
    reading for that of the second if it comes later: groups are then served as if they had never committed,
    or not at all until the broker is started again. Ten thousand commits take a starved machine a second.
    """
    async with _admin(settings) as admin:
        await _create(
            admin, [NewTopic(_OFFSETS, partitions, settings.replication_factor, topic_configs=_SHORT)]
        )


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    async with door("create topics"):
        admin = AIOKafkaAdminClient(**connection(settings))
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()


async def _create(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> None:
    """One that exists by now is left as it is."""
    response = await admin.create_topics(topics)
    for name, code, *text in response.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise Unavailable(f"Kafka refused to create {name}: {text}")


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
