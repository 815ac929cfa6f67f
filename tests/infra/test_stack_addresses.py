"""infra/stack/addresses.py"""

from __future__ import annotations

import socket

import pytest

from infra.settings import Settings
from infra.stack.addresses import (
    Address,
    free_ports,
    is_free,
    local_addresses,
    parse_address,
    with_free_ports,
)
from schemas.errors import SettingsError


@pytest.mark.parametrize(
    "text", ["10.0.0.5:6379", "redis://10.0.0.5:6379/0", "redis://user:word@10.0.0.5:6379"]
)
def test_addresses_are_read_with_and_without_a_scheme(text: str) -> None:
    """Host and port are all that matters here."""
    assert parse_address(text, "IM_REDIS") == Address("10.0.0.5", 6379)


@pytest.mark.parametrize("text", ["", "127.0.0.1", ":9092", "127.0.0.1:seven", "127.0.0.1:99999"])
def test_a_wrong_address_names_its_setting(text: str) -> None:
    """The reader knows which variable to mend."""
    with pytest.raises(SettingsError, match=r"^IM_KAFKA: "):
        parse_address(text, "IM_KAFKA")


def test_the_stack_starts_nothing_elsewhere() -> None:
    """Settings that point at another machine are refused rather than half obeyed."""
    with pytest.raises(SettingsError, match=r"IM_CASSANDRA: the local stack is on 127\.0\.0\.1 only"):
        local_addresses(Settings(cassandra="db.example.org:9042"))


def test_a_port_in_use_is_not_free() -> None:
    """Whoever listens there is seen, and gone once they are."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = Address(*server.getsockname())
        assert not is_free(address)

    assert is_free(address)


def test_free_ports_are_different_and_free() -> None:
    """So many servers can start side by side."""
    ports = free_ports(10)

    assert len(set(ports)) == 10
    assert all(is_free(Address("127.0.0.1", port)) for port in ports)


def test_no_port_is_given_twice() -> None:
    """Ports that are asked for one after the other differ, and no outgoing connection takes one of them."""
    ports = [port for _ in range(500) for port in free_ports(1)]
    assert len(set(ports)) == len(ports)
    assert max(ports) < 32_768


def test_settings_with_free_ports_disturb_no_default() -> None:
    """Tests run beside an `im run` on the default ports."""
    default, moved = Settings(), with_free_ports(Settings())

    assert not set(local_addresses(moved).values()) & set(local_addresses(default).values())
    assert moved.port != default.port
