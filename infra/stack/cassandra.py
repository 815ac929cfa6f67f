"""Cassandra as a child process: one node, on Java 17."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from infra.settings import Settings
from infra.stack.addresses import local_addresses
from infra.stack.engine import Engine, render
from infra.stack.jars import FILES
from infra.stack.probes import cassandra_probe
from infra.stack.process import ChildSpec

__all__ = ["cassandra_engine"]

JVM_FLAGS: Final = (
    "-Xms1g",
    "-Xmx1g",
    "-Xss512k",
    "-XX:+UseParallelGC",
    "-XX:ParallelGCThreads=2",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:MaxDirectMemorySize=512m",
)
GIVES_WAY: Final = ("nice", "-n", "10")
"""Its compiler, flushes and collections want both cores for 0.1 s now and then, and no delivery waits for
them: at 100 messages/s the 90th percentile of delivery was 13 to 21 ms in ten runs without, 10 to 14 in three
with it. The 99th was 44 to 217 (median 87) and 51 to 88 (65): too few runs to be sure."""
ALONE: Final = (
    # One node has nobody to wait for: no gossip to settle, no ring to learn, no peer to tell that it stops.
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.ring_delay_ms=1",
    "-Dcassandra.superuser_setup_delay_ms=-1",
    "-Dcassandra.load_ring_state=false",
    "-Dcassandra.shutdown_announce_in_ms=0",
)


def cassandra_engine(settings: Settings, java: str, jars: Path) -> Engine:
    """How to run Cassandra for these settings."""
    address = local_addresses(settings)["IM_CASSANDRA"]
    home = settings.data_dir.absolute() / "cassandra"
    config = home / "cassandra.yaml"
    files = FILES / "cassandra"
    (agent,) = jars.glob("jamm-*.jar")
    return Engine(
        label="Cassandra 5.0",
        address=address,
        child=ChildSpec(
            name="cassandra",
            argv=(
                *GIVES_WAY,
                java,
                *JVM_FLAGS,
                *ALONE,
                f"@{files / 'java17.options'}",
                f"-javaagent:{agent}",
                f"-Dlogback.configurationFile={(files / 'logback.xml').as_uri()}",
                f"-Dcassandra.config={config.as_uri()}",
                f"-Dcassandra.storagedir={home}",
                f"-Djava.io.tmpdir={home / 'tmp'}",
                "-Dcassandra-foreground=yes",
                "-cp",
                f"{jars}/*",
                "org.apache.cassandra.service.CassandraDaemon",
            ),
            log=settings.data_dir.absolute() / "log" / "cassandra.log",
            ready=cassandra_probe(address),
            start_timeout_s=180.0,
            stop_timeout_s=30.0,
        ),
        files={
            config: render(
                "cassandra/cassandra.yaml",
                port=address.port,
                storage_port=settings.cassandra_storage_port,
                data_dir=home,
            )
        },
        folders=(home / "tmp",),
    )
