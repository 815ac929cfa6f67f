"""Routes as text, and the rules over routes, inboxes and heads that Redis and its memory twin share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, TypeVar

from infra.ports import Head, Route
from schemas.keys import shard_of

__all__ = [
    "MAX_DEVICES",
    "MAX_INBOX",
    "MAX_PULSE",
    "NAMES_PER_CALL",
    "STOPPED_KEPT_S",
    "LiveGateways",
    "by_shard",
    "newest_heads",
    "parse_route",
    "serialize_route",
    "session_prefix",
    "trim_inbox",
]

T = TypeVar("T")

_shard_of = lru_cache(maxsize=32_768)(shard_of)

MAX_DEVICES: Final = 64
"""Routes of one user. One device more puts the oldest route out: mostly a leftover of a gateway that died,
else a connection, which is closed as replaced."""
MAX_INBOX: Final = 10_000
"""Conversations in one inbox index. Older ones are dropped, and it is complete from there on only."""
MAX_PULSE: Final = 100
"""Conversations in one answer to a pulse."""
NAMES_PER_CALL: Final = 1_000
"""Users or conversations in one script call, so that none holds Redis for more than a few milliseconds."""
STOPPED_KEPT_S: Final = 10.0
"""How long a stage counts as stopped after its worker last said so, which it does each second."""


def serialize_route(route: Route) -> str:
    """What is stored under the device: gateway|boot|session|platform|since_ms."""
    return f"{session_prefix(route)}{route.platform}|{route.since_ms}"


def session_prefix(route: Route) -> str:
    """How every stored form of this session's route begins, whatever its platform and time."""
    return f"{route.gateway_id}|{route.boot_id}|{route.session_id}|"


def parse_route(device_id: str, text: str) -> Route:
    """The route stored under a device."""
    gateway_id, boot_id, session_id, platform, since_ms = text.split("|")
    return Route(device_id, gateway_id, boot_id, session_id, platform, int(since_ms))


class LiveGateways:
    """The leases at one moment: which of the stored routes count."""

    __slots__ = ("_alone", "boots", "dead")

    def __init__(self, boots: dict[str, str]) -> None:
        self.boots = boots
        """gateway id → boot id"""
        self.dead: set[str] = set()
        """Strangers that were looked for again and are not alive."""
        self._alone = _Leases()
        for gateway_id, boot_id in boots.items():
            self._alone[gateway_id] = self._alone[f"{gateway_id}|{boot_id}"] = (gateway_id,)

    @property
    def strangers(self) -> set[str]:
        """What was asked for and is not among the leases: dead, or younger than this moment."""
        return self._alone.strangers

    def gateway_of(self, stored: str) -> tuple[str, ...]:
        """The gateway of a stored route, if it is alive under the boot that registered it; else nothing."""
        return self._alone[stored.rsplit("|", 3)[0]]

    def gateways_of(self, stored: Sequence[str]) -> tuple[str, ...]:
        """The live gateways of one user's stored routes, each once."""
        if len(stored) == 1:
            return self.gateway_of(stored[0])
        return tuple(dict.fromkeys(gateway_id for text in stored for gateway_id in self.gateway_of(text)))

    def among(self, gateway_ids: Iterable[str]) -> tuple[str, ...]:
        """Those that are alive, under whatever boot, sorted."""
        return tuple(sorted(gateway_id for gateway_id in gateway_ids if self._alone[gateway_id]))


class _Leases(dict[str, tuple[str, ...]]):
    """A dict, because a hit costs no call of Python: it is looked up for every user of every message."""

    def __init__(self) -> None:
        self.strangers: set[str] = set()

    def __missing__(self, lease: str) -> tuple[str, ...]:
        self.strangers.add(lease)
        return ()


def newest_heads(candidates: Iterable[str], heads: Mapping[str, Head], since_ms: int) -> dict[str, int]:
    """conversation → head seq of the candidates that changed at or after this time, the newest only."""
    changed = [
        (head.at_ms, conversation_id, head.seq)
        for conversation_id in candidates
        if (head := heads.get(conversation_id)) is not None and head.at_ms >= since_ms
    ]
    changed.sort(reverse=True)
    return {conversation_id: seq for _, conversation_id, seq in changed[:MAX_PULSE]}


def trim_inbox(changed: Mapping[str, int], limit: int = MAX_INBOX) -> tuple[dict[str, int], int]:
    """The newest `limit` entries, newest first, and the time (ms) from which on nothing was left out."""
    newest = sorted(changed.items(), key=lambda entry: (entry[1], entry[0]), reverse=True)
    complete_from_ms = newest[limit][1] + 1 if len(newest) > limit else 0
    return dict(newest[:limit]), complete_from_ms


def by_shard(items: Iterable[T], name_of: Callable[[T], str] = str) -> Iterator[list[T]]:
    """Groups of at most `NAMES_PER_CALL` items whose names lie in one shard, each in the order given."""
    shards: dict[int, list[T]] = {}
    for item in items:
        shards.setdefault(_shard_of(name_of(item)), []).append(item)
    for group in shards.values():
        for start in range(0, len(group), NAMES_PER_CALL):
            yield group[start : start + NAMES_PER_CALL]
