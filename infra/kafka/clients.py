"""aiokafka's clients, started whole or not at all, stopped within a bound, their errors made ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError

from infra.engine_tls import engine_tls
from infra.kafka.reconnecting import reconnect_calmly
from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.topics import MAX_RECORD_BYTES

__all__ = [
    "BATCH_BYTES",
    "REQUEST_TIMEOUT_S",
    "RETRY_PAUSE_S",
    "connection",
    "door",
    "new_consumer",
    "new_producer",
    "partitions_of",
    "stop",
]

log = structlog.get_logger(__name__)

REQUEST_TIMEOUT_S: Final = 10.0
RETRY_PAUSE_S: Final = 0.2
BATCH_BYTES: Final = MAX_RECORD_BYTES + 4_096
_STOP_TIMEOUT_S: Final = 2.0


def connection(settings: Settings) -> dict[str, Any]:
    """Where the brokers are and who we are to them: what every client of the driver is made with."""
    return {"bootstrap_servers": settings.kafka, **_security(settings)}


def _security(settings: Settings) -> dict[str, Any]:
    tls = engine_tls(settings) if settings.kafka_tls == "on" else None
    if settings.kafka_password is None:
        return {"security_protocol": "SSL", "ssl_context": tls} if tls else {}
    return {
        "security_protocol": "SASL_SSL" if tls else "SASL_PLAINTEXT",
        "ssl_context": tls,
        "sasl_mechanism": settings.kafka_mechanism,
        "sasl_plain_username": settings.kafka_user,
        "sasl_plain_password": settings.kafka_password.get_secret_value(),
    }


async def new_producer(settings: Settings, client_id: str) -> AIOKafkaProducer:
    """An idempotent producer with acks=all that sends what it is given at once."""
    producer = AIOKafkaProducer(
        **connection(settings),
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=BATCH_BYTES,
        max_request_size=BATCH_BYTES + 4_096,
        request_timeout_ms=int(REQUEST_TIMEOUT_S * 1000),
    )
    await _start(producer)
    return producer


async def new_consumer(settings: Settings, client_id: str) -> AIOKafkaConsumer:
    """A reader that belongs to no group and commits nothing."""
    consumer = AIOKafkaConsumer(
        **connection(settings),
        client_id=client_id,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * MAX_RECORD_BYTES,
        request_timeout_ms=int(REQUEST_TIMEOUT_S * 1000),
    )
    await _start(consumer)
    return consumer


async def _start(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Start a client, or leave nothing of it behind."""
    network = _network(client)
    reconnect_calmly(network)
    _know_all_topics(network)
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await client.start()
            await network.force_metadata_update()
    except BaseException:
        await stop(client)
        raise


async def stop(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Stop a client within a bound: a producer whose broker is gone would wait for ever."""
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await client.stop()
        return
    except (KafkaError, TimeoutError, OSError, AttributeError, AssertionError) as error:
        log.debug("kafka.stop", error=repr(error))
    except asyncio.CancelledError:
        # Of a task of the driver's own, which it cancels and waits for; or ours.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
    with suppress(TimeoutError, OSError):  # whatever it did not come to, its connections are closed
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await _network(client).close()


async def partitions_of(client: AIOKafkaProducer | AIOKafkaConsumer, topic: str) -> set[int]:
    """Its partitions, none if there is no such topic; a topic that is new to the client is asked for.

    The driver itself would wait for it, ten seconds long. Raises `KafkaError` if no broker answers.
    """
    network = _network(client)
    if not network.cluster.partitions_for_topic(topic):
        await network._maybe_wait_metadata()  # what is on its way may have been asked before there was one
        if not await network.force_metadata_update():
            raise KafkaConnectionError("no broker says which topics there are")
    return network.cluster.partitions_for_topic(topic) or set()


def _know_all_topics(network: AIOKafkaClient) -> None:
    """Have a client learn where all topics are at once, and keep it.

    By itself it asks for each topic when it is first named, which takes a round trip, and then forgets those
    that it was not told of: a reader at each assignment, of which a worker that recovers has a dozen; and a
    producer's batch for a topic that was forgotten loses its leader and waits until it expires.
    """
    network.add_topic = network.set_topics = lambda _: None


def _network(client: AIOKafkaProducer | AIOKafkaConsumer) -> AIOKafkaClient:
    """The connections of a client."""
    return client.client if isinstance(client, AIOKafkaProducer) else client._client


@asynccontextmanager
async def door(doing: str) -> AsyncIterator[None]:
    """Whatever the driver raises inside becomes `Unavailable`."""
    try:
        yield
    except (KafkaError, TimeoutError, OSError) as error:
        raise Unavailable(f"cannot {doing}: {error!r}") from error
