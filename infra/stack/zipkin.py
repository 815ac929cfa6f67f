"""Zipkin as a child process: traces to look at, in memory only. For `im run --zipkin`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from infra.settings import Settings
from infra.stack.addresses import Address
from infra.stack.engine import Engine
from infra.stack.probes import http_probe
from infra.stack.process import ChildSpec

__all__ = ["with_zipkin", "zipkin_address", "zipkin_engine"]

JVM_FLAGS: Final = (
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
)
MAX_SPANS: Final = 100_000
"""Older ones are forgotten."""


def zipkin_address(settings: Settings) -> Address:
    return Address("127.0.0.1", settings.zipkin_port)


def with_zipkin(settings: Settings) -> Settings:
    """The same settings with spans going to the local Zipkin."""
    return settings.model_copy(update={"zipkin_endpoint": f"http://{zipkin_address(settings)}"})


def zipkin_engine(settings: Settings, java: str, jars: Path) -> Engine:
    """How to run Zipkin for these settings."""
    address = zipkin_address(settings)
    (jar,) = jars.glob("zipkin-server-*-exec.jar")
    return Engine(
        label="Zipkin 3",
        address=address,
        child=ChildSpec(
            name="zipkin",
            argv=(java, *JVM_FLAGS, "-jar", str(jar), *_listen(address)),
            log=settings.data_dir.absolute() / "log" / "zipkin.log",
            ready=http_probe(address, "/health"),
            env={**os.environ, "MEM_MAX_SPANS": str(MAX_SPANS)},
            start_timeout_s=60.0,
        ),
    )


def _listen(address: Address) -> tuple[str, ...]:
    """On this address only; by itself it would listen on all of the machine's."""
    return f"--armeria.ports[0].ip={address.host}", f"--armeria.ports[0].port={address.port}"
