"""`im doctor`: what this machine has, what runs on it, and what to do about the rest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from infra.engine_tls import engine_tls
from infra.settings import Settings
from infra.stack.addresses import Address, broker_addresses, parse_address
from infra.stack.checks import (
    Check,
    check_descriptors,
    check_disk,
    check_java,
    check_maven,
    find_java,
)
from infra.stack.probes import cassandra_probe, http_probe, kafka_probe, redis_probe
from infra.stack.process import Probe
from infra.stack.system import gateway_addresses
from schemas.errors import ImError, Unavailable
from schemas.topics import TOPICS

__all__ = ["examine"]


async def examine(settings: Settings) -> list[Check]:
    """Every check, in the order in which a person would look. Changes nothing."""
    running = {name: await probe() for name, (_, probe) in _services(settings).items()}
    return [
        await check_java(find_java()),
        check_maven(settings),
        _check_redis_server(),
        check_disk(settings.data_dir.absolute()),
        check_descriptors(),
        *(
            Check(f"{name} at {address}", running[name], "nobody answers there; make run starts it")
            for name, (address, _) in _services(settings).items()
        ),
        *([await _check_topics(settings)] if running["Kafka"] else []),
        *([await _check_tables(settings)] if running["Cassandra"] else []),
    ]


def _services(settings: Settings) -> Mapping[str, tuple[Address, Probe]]:
    brokers = broker_addresses(settings)
    redis = parse_address(settings.redis, "IM_REDIS")
    cassandra = parse_address(settings.cassandra, "IM_CASSANDRA")
    tls = engine_tls(settings)
    kafka_tls = tls if settings.kafka_tls == "on" else None
    names = ["Kafka", *(f"Kafka (broker {number})" for number in range(2, len(brokers) + 1))]
    return {
        **{name: (at, kafka_probe(at, kafka_tls)) for name, at in zip(names, brokers, strict=True)},
        "Redis": (redis, redis_probe(redis, tls if settings.redis.startswith("rediss:") else None)),
        "Cassandra": (cassandra, cassandra_probe(cassandra, tls if settings.cassandra_tls == "on" else None)),
        **{f"gateway {name}": (at, http_probe(at)) for name, at in gateway_addresses(settings).items()},
    }


def _check_redis_server() -> Check:
    found = shutil.which("redis-server")
    fix = "apt-get install redis-server" if os.geteuid() == 0 else "sudo apt-get install redis-server"
    return Check("redis-server" if found else "redis-server not found", found is not None, fix)


async def _check_topics(settings: Settings) -> Check:
    from infra.kafka import KafkaBus

    bus = KafkaBus(settings, client_id="im-doctor")
    await bus.startup()
    try:
        for topic in TOPICS:
            await bus.ends(topic.name)
    except Unavailable as error:
        return Check(f"topics: {error}", ok=False, fix="make run creates them")
    finally:
        await bus.shutdown()
    return Check(f"{len(TOPICS)} topics", ok=True)


async def _check_tables(settings: Settings) -> Check:
    from infra.cassandra.cql import CQL, named_statements
    from infra.cassandra.migrations import load_migrations, pending
    from infra.cassandra.session import CassandraSession

    query = named_statements((CQL / "queries.cql").read_text())["migrations"]
    session = CassandraSession(settings, settings.keyspace, {"migrations": query})
    try:
        await session.startup()
        todo = pending(load_migrations(), dict(await session.rows("migrations")))
    except ImError as error:
        return Check(f"tables: {error}", ok=False, fix="make run creates them")
    finally:
        await session.shutdown()
    title = f"tables lack {', '.join(migration.name for migration in todo)}" if todo else "tables up to date"
    return Check(title, not todo, "make run brings them up to date")
