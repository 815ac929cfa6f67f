"""The whole path over engines with TLS, passwords and rights; and what is refused to who lacks them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from pydantic import SecretStr

from infra.cassandra.session import CassandraSession
from infra.kafka.acls import ensure_grants, gateway_grants, worker_grants
from infra.kafka.clients import connection, new_producer, stop
from infra.redis_calls import RedisCalls
from infra.settings import Settings, load_settings
from infra.stack.addresses import local_addresses, with_free_ports
from infra.stack.local import LocalStack
from infra.stack.system import System
from infra.stack.trial import send_trial_message
from schemas.errors import Unavailable
from tests.acceptance.patience import until
from tests.acceptance.secured import PASSWORDS, Secured
from tests.authority import Authority
from tests.conftest import TEST_SECRET, UNHURRIED, Background, in_background

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Secured:
    """How engines of this module's own are run."""
    folder = tmp_path_factory.mktemp("secured")
    own = {"data_dir": folder, "auth_secret": SecretStr(TEST_SECRET), "warm_standby": "off"}
    update = own | UNHURRIED
    return Secured(with_free_ports(load_settings().model_copy(update=update)), folder / "tls")


@pytest.fixture(scope="module", autouse=True)
def stack(background: Background, secured: Secured) -> Iterator[LocalStack]:
    """They run, with topics, tables and the rights of a gateway and a worker."""
    for stack in in_background(background, LocalStack(secured.settings, adapt=secured.adapt_engine)):
        gateway_id = secured.settings.gateway_id
        grants = [*gateway_grants("gateway", gateway_id), *worker_grants("worker")]
        background.call(ensure_grants(secured.settings, grants))
        background.call(ensure_grants(secured.settings, grants))  # again: changes nothing
        yield stack


@pytest.fixture(scope="module")
def system(background: Background, secured: Secured, stack: LocalStack) -> Iterator[System]:
    """A gateway and workers, each as its own user."""
    yield from in_background(background, System(stack, adapt=secured.adapt_child))


def test_a_message_passes_the_whole_path(background: Background, system: System) -> None:
    """alice writes, bob reads, with the least rights that the table of grants gives."""
    (address,) = system.addresses.values()
    background.call(send_trial_message(address, system.token))


def test_no_password_is_told(system: System, secured: Secured) -> None:
    """Neither on a command line of what runs, nor in any log, nor by the settings themselves."""
    told = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in system._gateways.pids.values()]
    told += [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in system._workers.pids.values()]
    told += [path.read_bytes() for path in (secured.settings.data_dir / "log").glob("*.log")]
    told += [repr(secured.settings).encode(), str(secured.settings).encode()]
    assert len(told) >= 10
    for name, password in PASSWORDS.items():
        assert not [text[:200] for text in told if password.encode() in text], name


# Kafka


@asynccontextmanager
async def a_producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = await new_producer(settings, "test")
    try:
        yield producer
    finally:
        await stop(producer)


async def may_write(settings: Settings, topic: str) -> bool:
    async with a_producer(settings) as producer:
        try:
            await producer.send_and_wait(topic, b"not a record", partition=0)
        except TopicAuthorizationFailedError:
            return False
        return True


async def may_read(settings: Settings, topic: str) -> bool:
    """Whether a fetch was answered: with records, or with how far the topic goes."""
    place = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(
        **connection(settings), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign([place])
        await consumer.seek_to_beginning()
        await until(
            partial(consumer.getmany, timeout_ms=100), lambda _: consumer.highwater(place) is not None
        )
    except TopicAuthorizationFailedError:
        return False
    finally:
        await consumer.stop()
    return True


@pytest.mark.parametrize("topic", ["im.accepted", "im.messages", "im.moderation", "im.places", "im.policy"])
async def test_a_gateway_writes_nothing_that_is_judged(secured: Secured, topic: str) -> None:
    """Who has taken over a gateway puts nothing past moderation, and makes no policy."""
    assert not await may_write(secured.as_user("gateway"), topic)


@pytest.mark.parametrize(
    "topic", ["im.inbound", "im.messages", "im.accepted", "im.receipts", "im.dlq", "im.audit"]
)
async def test_a_gateway_reads_no_conversation(secured: Secured, topic: str) -> None:
    """Only what is meant for it."""
    assert not await may_read(secured.as_user("gateway"), topic)


async def test_a_gateway_reads_its_own_deliveries_and_nobody_elses(secured: Secured, system: System) -> None:
    """Its topic is its own; that of another gateway is not."""
    await make_topic(secured.settings, "im.outbound.gw-other")
    own = f"im.outbound.{secured.settings.gateway_id}"
    assert await may_read(secured.as_user("gateway"), own)
    assert not await may_read(secured.as_user("gateway"), "im.outbound.gw-other")


async def test_nobody_makes_topics_that_are_not_ours(secured: Secured) -> None:
    """Neither a gateway nor a worker; and writing to a missing one makes none."""
    for user in ("gateway", "worker"):
        assert await make_topic(secured.as_user(user), f"stray-{user}") != 0


@pytest.mark.parametrize(
    "changes",
    [
        {"kafka_password": SecretStr("wrong")},
        {"kafka_user": "nobody", "kafka_password": SecretStr("x")},
        {"kafka_user": "", "kafka_password": None},
        {"kafka_tls": "off"},
    ],
)
async def test_kafka_takes_nobody_without_password_and_tls(secured: Secured, changes: dict[str, Any]) -> None:
    """The connection itself fails."""
    settings = secured.settings.model_copy(update=changes)
    with pytest.raises((KafkaError, TimeoutError)):
        await new_producer(settings, "test")


async def make_topic(settings: Settings, name: str) -> int:
    """The error code of the broker; 0: it was made."""
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(name, 1, 1)])
        return int(answer.topic_errors[0][1])
    finally:
        await admin.close()


# Redis and Cassandra


async def test_redis_takes_nobody_without_password_and_tls(secured: Secured) -> None:
    """Each refusal is `Unavailable`; with both, it answers."""
    plain = secured.settings.redis.replace("rediss://", "redis://")
    for changes in ({}, {"redis_password": None}, {"redis_password": SecretStr("x")}, {"redis": plain}):
        calls = RedisCalls(secured.settings.model_copy(update=changes))
        try:
            if changes:
                with pytest.raises(Unavailable):
                    await calls.call([("PING",)])
            else:
                assert await calls.call([("PING",)]) == [True]
        finally:
            await calls.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"cassandra_password": SecretStr("wrong")},
        {"cassandra_user": "", "cassandra_password": None},
        {"cassandra_tls": "off"},
    ],
)
async def test_cassandra_takes_nobody_without_password_and_tls(
    secured: Secured, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each refusal is `Unavailable`."""
    monkeypatch.setattr("infra.cassandra.session._CONNECT_TRIES", 1)
    session = CassandraSession(secured.settings.model_copy(update=changes), None, {})
    with pytest.raises(Unavailable):
        await session.startup()


async def test_an_engine_with_a_certificate_of_somebody_else_is_not_talked_to(
    secured: Secured, tmp_path: Path
) -> None:
    """No password is sent to who cannot show a certificate of our authority."""
    strange = secured.settings.model_copy(update={"engine_ca": Authority(tmp_path).ca})
    with pytest.raises((KafkaError, TimeoutError)):
        await new_producer(strange, "test")
    calls = RedisCalls(strange)
    with pytest.raises(Unavailable):
        await calls.call([("PING",)])
    await calls.close()


def test_engines_speak_no_old_tls(secured: Secured) -> None:
    """Nothing below 1.2 is taken, by any of them."""
    addresses = local_addresses(secured.settings)
    for name in ("IM_KAFKA", "IM_REDIS", "IM_CASSANDRA"):
        assert _version(addresses[name]) in ("TLSv1.2", "TLSv1.3")


def _version(address: Any) -> str | None:
    import socket

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(address, 5) as plain, context.wrap_socket(plain) as secure:
        return secure.version()
