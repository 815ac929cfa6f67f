"""The ip that a client is known by. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

__all__ = ["address_of", "client_address", "is_trusted"]

_IPV6_PREFIX: Final = 64
_MAX_HOPS: Final = 32
Network = IPv4Network | IPv6Network


@lru_cache(maxsize=8_192)
def address_of(text: str) -> str | None:
    """An ip as limits name it: an IPv6 address by its /64, which one customer has whole. None: no ip."""
    try:
        ip = ip_address(_bare(text))
    except ValueError:
        return None
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(IPv6Network((ip, _IPV6_PREFIX), strict=False).network_address) + f"/{_IPV6_PREFIX}"
    return str(ip)


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """Who is behind this peer.

    A peer that is no trusted proxy is the client, whatever it says. Behind trusted ones it is the last
    hop of X-Forwarded-For that is none of them: what stands before it was written by the client.
    """
    last = peer
    if trusted and is_trusted(peer, trusted):
        for hop in reversed(forwarded_for.split(",")[-_MAX_HOPS:]):
            if address_of(hop.strip()) is None:
                break
            last = hop.strip()
            if not is_trusted(last, trusted):
                break
    return address_of(last) or last


def is_trusted(hop: str, trusted: Sequence[Network]) -> bool:
    """Whether this is one of our own proxies."""
    try:
        ip = ip_address(_bare(hop))
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in trusted if network.version == ip.version)


def _bare(hop: str) -> str:
    """Without a port, brackets or a scope: `1.2.3.4:80`, `[2001:db8::1]:80`, `fe80::1%eth0`."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    return hop.partition("%")[0]
