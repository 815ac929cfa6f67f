"""Kafka as a child process: one broker that is its own controller, on Java 17."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from infra.settings import Settings
from infra.stack.addresses import local_addresses
from infra.stack.engine import Engine, Preparation, render
from infra.stack.jars import FILES
from infra.stack.probes import kafka_probe
from infra.stack.process import ChildSpec

__all__ = ["kafka_engine"]

CLUSTER_ID: Final = "c2tlaW4tbG9jYWwtc3RhY2"
"""Any 16 bytes in base64: one broker never meets another cluster's data."""
JVM_FLAGS: Final = (
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UseSerialGC",  # on two cores and half a gigabyte: pauses of milliseconds, no collector threads
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)


def kafka_engine(settings: Settings, java: str, jars: Path) -> Engine:
    """How to run Kafka for these settings."""
    addresses = local_addresses(settings)
    address = addresses["IM_KAFKA"]
    home = settings.data_dir.absolute() / "kafka"
    config, data = home / "server.properties", home / "data"
    logging = f"-Dlog4j2.configurationFile={FILES / 'kafka' / 'log4j2.xml'}"
    base = (java, *JVM_FLAGS, logging, "-cp", f"{jars}/*")
    return Engine(
        label="Kafka 4.1 (KRaft)",
        address=address,
        child=ChildSpec(
            name="kafka",
            argv=(*base, "kafka.Kafka", str(config)),
            log=settings.data_dir.absolute() / "log" / "kafka.log",
            ready=kafka_probe(address),
            env={**os.environ, "LOG_DIR": str(home)},
        ),
        files={
            config: render(
                "kafka/server.properties",
                port=address.port,
                controller_port=settings.kafka_controller_port,
                data_dir=data,
            )
        },
        folders=(home,),
        preparation=Preparation(
            argv=(*base, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(config)),
            done=data / "meta.properties",
        ),
    )
