"""Kafka as child processes: brokers that are their own controllers, on Java 17."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from infra.settings import Settings
from infra.stack.addresses import Address, broker_addresses, local_addresses
from infra.stack.engine import Engine, Preparation, render
from infra.stack.jars import FILES
from infra.stack.probes import kafka_probe
from infra.stack.process import ChildSpec

__all__ = ["OFFSETS_PARTITIONS", "kafka_engines"]

CLUSTER_ID: Final = "c2tlaW4tbG9jYWwtc3RhY2"
"""Any 16 bytes in base64: local brokers never meet another cluster's data."""
OFFSETS_PARTITIONS: Final = 4
JVM_FLAGS: Final = (
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UseSerialGC",  # on two cores and half a gigabyte: pauses of milliseconds, no collector threads
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)


QUICK_FAILOVER: Final = """
# Several brokers: a dead one is replaced as leader within five seconds, also if it led the controllers.
broker.session.timeout.ms=2500
controller.quorum.fetch.timeout.ms=1500
controller.quorum.election.timeout.ms=500
"""


def kafka_engines(settings: Settings, java: str, jars: Path) -> list[Engine]:
    """How to run Kafka for these settings: a broker for each address in IM_KAFKA.

    They are named kafka, kafka-2, kafka-3 …, and internal topics have as many replicas as ours.
    """
    addresses = local_addresses(settings)
    controllers = [address for name, address in addresses.items() if "CONTROLLER" in name]
    voters = ",".join(f"{node}@{address}" for node, address in enumerate(controllers, 1))
    brokers = zip(broker_addresses(settings), controllers, strict=True)
    return [
        _broker(settings, java, jars, node, broker, controller, voters)
        for node, (broker, controller) in enumerate(brokers, 1)
    ]


def _broker(
    settings: Settings, java: str, jars: Path, node: int, address: Address, controller: Address, voters: str
) -> Engine:
    name = "kafka" if node == 1 else f"kafka-{node}"
    home = settings.data_dir.absolute() / name
    config, data = home / "server.properties", home / "data"
    logging = f"-Dlog4j2.configurationFile={FILES / 'kafka' / 'log4j2.xml'}"
    base = (java, *JVM_FLAGS, logging, "-cp", f"{jars}/*")
    text = render(
        "kafka/server.properties",
        node=node,
        voters=voters,
        port=address.port,
        controller_port=controller.port,
        data_dir=data,
        offsets_partitions=OFFSETS_PARTITIONS,
        replicas=settings.replication_factor,
        in_sync=settings.min_insync_replicas,
    )
    return Engine(
        label="Kafka 4.1 (KRaft)" if "," not in voters else f"Kafka 4.1 (KRaft), broker {node}",
        address=address,
        child=ChildSpec(
            name=name,
            argv=(*base, "kafka.Kafka", str(config)),
            log=settings.data_dir.absolute() / "log" / f"{name}.log",
            ready=kafka_probe(address),
            env={**os.environ, "LOG_DIR": str(home)},
        ),
        files={config: text + QUICK_FAILOVER if "," in voters else text},
        folders=(home,),
        preparation=Preparation(
            argv=(*base, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(config)),
            done=data / "meta.properties",
        ),
    )
