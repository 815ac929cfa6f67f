"""One Faust app per stage: the consumer group, its agent, and nothing else of Faust.

No tables, no `take`, no transactions, no web server: each lost or hung records when tried
(README, "What Faust does here").
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, cast

import faust
from faust.app import base
from faust.auth import Credentials
from faust.serializers.schemas import Schema
from faust.tables.manager import TableManager

from infra.engine_tls import engine_tls
from infra.settings import Settings
from pipeline.batch import Chunk
from pipeline.tenure import Tenure
from pipeline.topology import group_of
from pipeline.transport import BatchConsumer, BatchTransport

__all__ = ["create_app"]

ChunkRunner = Callable[[AsyncIterator[Chunk]], Awaitable[None]]
_METADATA_MAX_AGE_MS: Final = 5_000
"""A broker that has just started may not name a topic yet; a leader that divides the partitions then gives
those to nobody, and looks again when its metadata is that old. By itself that is five minutes."""


class _ChunkSchema(Schema[Any, Any]):
    """A chunk is passed on as it is: a bad record must be one dead letter, never a failed chunk."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002 - Faust's signature
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002 - Faust's signature
        return message.value


class _App(faust.App):
    """Stages publish by the bus: Faust's own producer would be one more that connects and says nothing."""

    class BootStrategy(base.BootStrategy):
        enable_kafka_producer = False


class _NoTables(TableManager):
    """Faust gives the tables of an app a second to appear before it joins its group; ours has none."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


def _credentials(settings: Settings) -> Credentials | None:
    """Who we are to the brokers; None where they ask nobody."""
    tls = engine_tls(settings) if settings.kafka_tls == "on" else None
    if settings.kafka_password is not None:
        return faust.SASLCredentials(
            username=settings.kafka_user,
            password=settings.kafka_password.get_secret_value(),
            mechanism=settings.kafka_mechanism,
            ssl_context=tls,
        )
    return faust.SSLCredentials(tls) if tls else None


def create_app(stage: str, topic: str, settings: Settings, run: ChunkRunner, tenure: Tenure) -> faust.App:
    """An app that runs `run` over the chunks of each partition it is assigned, each on its own.

    `run` is started when a partition comes and cancelled when it goes. No exception may leave it:
    Faust would acknowledge the chunk (`pipeline/stage.py` sees to that). `tenure` is kept proven.
    """
    app = _App(
        group_of(stage),
        broker=f"aiokafka://{settings.kafka.replace(',', ';')}",
        broker_credentials=_credentials(settings),
        store="memory://",
        datadir=settings.data_dir / "faust",
        TableManager=_NoTables,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        stream_buffer_maxsize=2,  # chunks in waiting: the fewer, the larger the next one
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=f"{stage}.{settings.worker_id}",
        consumer_max_fetch_size=4 * settings.chunk_bytes,
        consumer_metadata_max_age_ms=_METADATA_MAX_AGE_MS,
        broker_max_poll_records=settings.chunk_records,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 12,  # rebalances wait for each member's next
        broker_rebalance_timeout=10.0,
        broker_request_timeout=max(15.0, settings.session_timeout_s + 1),
        broker_commit_interval=settings.commit_interval_s,
    )
    app.transport = BatchTransport(app.conf.broker, app, app.loop)
    app.transport.tenure = tenure
    channel = app.topic(topic, schema=_ChunkSchema())

    @app.agent(channel, name=stage, isolated_partitions=True)
    async def agent(stream: Any) -> None:
        await run(cast(BatchConsumer, app.consumer).noting(stream))

    return app
