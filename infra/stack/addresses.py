"""Where things listen: addresses read from settings, free ports, and who is in the way."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from random import SystemRandom
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from infra.settings import Settings
from schemas.errors import SettingsError

__all__ = [
    "Address",
    "broker_addresses",
    "free_ports",
    "is_free",
    "local_addresses",
    "parse_address",
    "with_free_ports",
]

_FIRST_PORT: Final = 10_000
_FIRST_OUTGOING_PORT: Final = 32_768
"""Where Linux's `ip_local_port_range` begins; elsewhere it begins later."""
_given: Final[set[int]] = set()
_random: Final = SystemRandom()
"""Two processes that seed their random numbers alike must not ask for the same ports."""


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_address(text: str, variable: str) -> Address:
    """Read `host:port` or `scheme://host:port/…`. Raises `SettingsError` that names the variable."""
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f"{variable}: {error} (given: {text!r})") from error
    if not host or not port:
        raise SettingsError(f"{variable}: a host and a port are needed (given: {text!r})")
    return Address(host, port)


def broker_addresses(settings: Settings) -> list[Address]:
    """Where each broker of IM_KAFKA is, `host:port` with commas between them."""
    return [parse_address(text.strip(), "IM_KAFKA") for text in settings.kafka.split(",")]


def local_addresses(settings: Settings) -> Mapping[str, Address]:
    """The addresses that the local engines listen on, by the setting that moves each.

    Raises `SettingsError` for an engine that is set to be elsewhere: the stack starts none on other machines.
    """
    addresses: dict[str, Address] = {}
    for at, broker in enumerate(broker_addresses(settings)):
        which = f" (broker {at + 1})" if at else ""
        addresses[f"IM_KAFKA{which}"] = broker
        addresses[f"IM_KAFKA_CONTROLLER_PORT{which}"] = Address(
            "127.0.0.1", settings.kafka_controller_port + at
        )
    addresses |= {
        "IM_REDIS": parse_address(settings.redis, "IM_REDIS"),
        "IM_CASSANDRA": parse_address(settings.cassandra, "IM_CASSANDRA"),
        "IM_CASSANDRA_STORAGE_PORT": Address("127.0.0.1", settings.cassandra_storage_port),
    }
    for variable, address in addresses.items():
        if address.host not in ("127.0.0.1", "localhost"):
            raise SettingsError(f"{variable}: the local stack is on 127.0.0.1 only (given: {address.host!r})")
    return addresses


def is_free(address: Address) -> bool:
    """Whether a server could listen there now; a port in TIME_WAIT counts as free, as it does for servers."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """That many ports that nobody listens on, none of which this process was given before.

    They lie below those that the kernel gives to outgoing connections, so a server that is started again
    finds its port free. Another process may still take one before you do.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = _random.randrange(_FIRST_PORT, _FIRST_OUTGOING_PORT)
        if port not in _given and is_free(Address("127.0.0.1", port)):
            _given.add(port)
            ports.append(port)
    return ports


def with_free_ports(settings: Settings) -> Settings:
    """The same settings with each broker, every other engine and the (only) gateway on a free port."""
    count = len(broker_addresses(settings))
    redis, cassandra, storage, gateway, *brokers = free_ports(4 + count)
    return settings.model_copy(
        update={
            "kafka": ",".join(f"127.0.0.1:{port}" for port in brokers),
            "kafka_controller_port": _free_row(count),
            "redis": f"redis://127.0.0.1:{redis}/0",
            "cassandra": f"127.0.0.1:{cassandra}",
            "cassandra_storage_port": storage,
            "host": "127.0.0.1",
            "port": gateway,
            "gateways": 1,
        }
    )


def _free_row(count: int) -> int:
    """The first of so many neighbouring free ports."""
    while True:
        (first,) = free_ports(1)
        rest = range(first + 1, first + count)
        if not _given.intersection(rest) and all(is_free(Address("127.0.0.1", port)) for port in rest):
            _given.update(rest)
            return first
