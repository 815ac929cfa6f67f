"""Making the topics, and refusing a cluster whose topics are not ours."""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

from infra.kafka.clients import connection, door
from infra.settings import Settings
from schemas.errors import SettingsError, Unavailable
from schemas.topics import MAX_RECORD_BYTES, TOPICS, Topic

__all__ = ["ensure_topics"]


async def ensure_topics(settings: Settings, topics: Iterable[Topic] = TOPICS) -> list[str]:
    """Create the topics that are missing and return their names.

    Raises `SettingsError` if one exists with another partition count: conversations would move to
    other partitions and their order would be lost.
    """
    wanted = list(topics)
    async with door("create topics"):
        admin = AIOKafkaAdminClient(**connection(settings))
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
