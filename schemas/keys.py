"""Redis keys. Users and conversations hash to a fixed number of shards, written as hash tags, so that
one call serves everybody of a shard, also on a Redis Cluster.

Everything here can be thrown away: routes come back from the gateways, the rest from Cassandra.

    lease:<gateway>                 boot id; expires: the gateway is gone, its routes are void
    notice:<gateway>                JSON: what it says of itself (url, load, state); expires with the lease
    gateways                        set of gateway ids that held a lease in the last 10 minutes
    route:{7}:<user>                hash: device → "gateway|boot|session|platform|since_ms"; at most 64
    inbox:{7}:<user>                sorted set: conversation → sent_at_ms of its newest message, the
                                    newest 10,000; member "": complete from this ms on, rebuilt from
                                    Cassandra once; expires 30 days after it was last read
    reads:{7}:<user>                hash: read-diffusion conversation of the user → seq of his joining
    left:{7}:<user>                 hash: read-diffusion conversation → seq at which he last left it; expires
                                    a day after he last left one
    head:{3}:<conversation>         hash: seq, at_ms of the newest fanned-out message; expires after 30 days
    readers:{3}:<conversation>      set: gateways that hold a member of a read-diffusion conversation;
                                    member "": complete; filled anew from all routes each hour
    announced                       sorted set: "role|name|host:port" of each process → forgotten at this ms
    watchers:{7}:<user>             set: gateways that want to hear of his devices; expires after an hour
    seen:{7}:<user>                 ms: when a device of his last came or went; expires after 30 days
    watermarks                      hash: "<stage>:<partition>" → everything up to this ms is done
    report:<service>                JSON: what a watching service found last; expires soon after it stops
    stopped                         hash: stage → "at_ms|why"; a worker has stopped it lately
    version:{limits}                "<born ms>.<changes>" of the next two; expires 30 days after its last use
    suspended:{limits}              hash: "user:<id>" or "ip:<ip>" → "since_ms|until_ms|reason"; expires with
                                    the last of them
    quotas:{limits}                 hash: tenant → messages a second; expires 30 days after its last use
    demand:{limits}:<tenant>        hash: gateway → "at_ms|boot|used in all|wanted, by priority"; field "" →
                                    "at_ms|credit"; expires after 10 s
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

__all__ = [
    "ANNOUNCED_KEY",
    "GATEWAYS_KEY",
    "LIMITS_VERSION_KEY",
    "QUOTAS_KEY",
    "SHARD_COUNT",
    "STOPPED_KEY",
    "SUSPENDED_KEY",
    "WATERMARKS_KEY",
    "demand_key",
    "head_key",
    "inbox_key",
    "lease_key",
    "left_key",
    "notice_key",
    "readers_key",
    "reads_key",
    "report_key",
    "route_key",
    "seen_key",
    "shard_of",
    "watchers_key",
]

SHARD_COUNT: Final = 8
GATEWAYS_KEY: Final = "gateways"
WATERMARKS_KEY: Final = "watermarks"
ANNOUNCED_KEY: Final = "announced"
STOPPED_KEY: Final = "stopped"
LIMITS_VERSION_KEY: Final = "version:{limits}"
SUSPENDED_KEY: Final = "suspended:{limits}"
QUOTAS_KEY: Final = "quotas:{limits}"


def shard_of(name: str) -> int:
    """Which shard a user or conversation belongs to."""
    return crc32(name.encode()) % SHARD_COUNT


def lease_key(gateway_id: str) -> str:
    return f"lease:{gateway_id}"


def notice_key(gateway_id: str) -> str:
    return f"notice:{gateway_id}"


def route_key(user_id: str) -> str:
    return f"route:{{{shard_of(user_id)}}}:{user_id}"


def inbox_key(user_id: str) -> str:
    return f"inbox:{{{shard_of(user_id)}}}:{user_id}"


def reads_key(user_id: str) -> str:
    return f"reads:{{{shard_of(user_id)}}}:{user_id}"


def left_key(user_id: str) -> str:
    return f"left:{{{shard_of(user_id)}}}:{user_id}"


def head_key(conversation_id: str) -> str:
    return f"head:{{{shard_of(conversation_id)}}}:{conversation_id}"


def readers_key(conversation_id: str) -> str:
    return f"readers:{{{shard_of(conversation_id)}}}:{conversation_id}"


def report_key(service: str) -> str:
    return f"report:{service}"


def watchers_key(user_id: str) -> str:
    return f"watchers:{{{shard_of(user_id)}}}:{user_id}"


def seen_key(user_id: str) -> str:
    return f"seen:{{{shard_of(user_id)}}}:{user_id}"


def demand_key(tenant: str) -> str:
    return f"demand:{{limits}}:{tenant}"
