"""Who a client is, whatever it says and whoever stands in between."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.limits.client_address import address_of, client_address

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("1.2.3.4", "", "1.2.3.4"),
        ("1.2.3.4", "9.9.9.9", "1.2.3.4"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", "6.6.6.6, 9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", "9.9.9.9, 10.1.2.3", "9.9.9.9"),
        ("10.0.0.1", "9.9.9.9, nonsense, 10.1.2.3", "10.1.2.3"),
        ("10.0.0.1", "10.3.3.3, 10.1.2.3", "10.3.3.3"),
        ("10.0.0.1", "9.9.9.9:4711", "9.9.9.9"),
        ("fd00::1", "[2001:db8:1:2:3::4]:4711", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", "," * 10_000, "10.0.0.1"),
    ],
)
def test_the_last_hop_that_is_not_ours_is_the_client(peer: str, forwarded: str, client: str) -> None:
    """What stands before it was written by the client himself."""
    assert client_address(peer, forwarded, TRUSTED) == client


def test_nobody_is_trusted_by_default() -> None:
    """Without IM_TRUSTED_PROXIES the header means nothing."""
    assert client_address("10.0.0.1", "9.9.9.9", ()) == "10.0.0.1"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("1.2.3", None),
        ("alice", None),
        ("", None),
    ],
)
def test_addresses_of_one_customer_have_one_name(text: str, name: str | None) -> None:
    """Of IPv6 the first 64 bits."""
    assert address_of(text) == name
