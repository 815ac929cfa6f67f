"""Makes running engines usable: topics and tables. Doing it again changes nothing."""

from __future__ import annotations

from infra.settings import Settings
from infra.stack.kafka import OFFSETS_PARTITIONS
from infra.stack.progress import Steps
from infra.together import together

__all__ = ["bootstrap"]


async def bootstrap(settings: Settings, steps: Steps) -> None:
    """Create the topics that are missing and apply the migrations that are new."""
    await together(_create_topics(settings, steps), _apply_schema(settings, steps))


async def _create_topics(settings: Settings, steps: Steps) -> None:
    from infra.kafka import ensure_offsets_topic, ensure_topics

    with steps.step("topics"):
        await ensure_offsets_topic(settings, OFFSETS_PARTITIONS)
        await ensure_topics(settings)


async def _apply_schema(settings: Settings, steps: Steps) -> None:
    from infra.cassandra import apply_migrations

    with steps.step("tables"):
        await apply_migrations(settings)
