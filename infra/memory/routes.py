"""The route table in memory: the twin of `infra/redis.py`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from infra.clock import Clock
from infra.ports import Announced, Attached, GatewayNotice, Head, Inbox, Route
from infra.routes import MAX_DEVICES, STOPPED_KEPT_S, LiveGateways, newest_heads, serialize_route, trim_inbox

__all__ = ["MemoryRouteTable"]


@dataclass(slots=True)
class _User:
    routes: dict[str, Route] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    complete_from_ms: int | None = None
    reads: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)

    def touch(self, changed: Mapping[str, int]) -> None:
        """Raise inbox entries, and drop the oldest ones beyond the bound."""
        for conversation_id, at_ms in changed.items():
            self.changed[conversation_id] = max(at_ms, self.changed.get(conversation_id, at_ms))
        self.changed, trimmed_to_ms = trim_inbox(self.changed)
        if self.complete_from_ms is not None:
            self.complete_from_ms = max(self.complete_from_ms, trimmed_to_ms)

    def changed_since(self, since_ms: int) -> dict[str, int]:
        """Entries from this time on, newest first. Nothing raises that of somebody who has left."""
        newest, _ = trim_inbox(self.changed)
        return {name: at_ms for name, at_ms in newest.items() if at_ms >= since_ms}

    def join(self, conversation_id: str, seq: int) -> None:
        if seq > self.left.get(conversation_id, 0):
            self.reads[conversation_id] = max(seq, self.reads.get(conversation_id, seq))

    def leave(self, conversation_id: str, seq: int) -> None:
        self.left[conversation_id] = max(seq, self.left.get(conversation_id, seq))
        if self.reads.get(conversation_id, seq + 1) <= seq:
            del self.reads[conversation_id]

    def stored(self) -> list[str]:
        return [serialize_route(route) for route in self.routes.values()]


class MemoryRouteTable:
    """`ports.RouteTable` for one process. Only leases expire, and no answer is older than its call."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.flush()

    def flush(self) -> None:
        """Lose everything, as a Redis that was flushed or restarted does."""
        self._leases: dict[str, tuple[str, float]] = {}
        self._users: defaultdict[str, _User] = defaultdict(_User)
        self._heads: dict[str, Head] = {}
        self._readers: defaultdict[str, set[str]] = defaultdict(set)
        self._filled: set[str] = set()
        self._watermarks: dict[tuple[str, int], int] = {}
        self._announced: dict[Announced, int] = {}
        self._reports: dict[str, tuple[bytes, float]] = {}
        self._stopped: dict[str, tuple[str, int]] = {}
        self._notices: dict[str, GatewayNotice] = {}
        self._watchers: defaultdict[str, set[str]] = defaultdict(set)
        self._seen: dict[str, int] = {}

    async def startup(self) -> None:
        """Nothing to open."""

    async def shutdown(self) -> None:
        """Nothing to close."""

    # Leases and routes

    async def take_lease(
        self, gateway_id: str, boot_id: str, ttl_s: float, notice: GatewayNotice | None = None
    ) -> None:
        if notice is not None:
            self._notices[gateway_id] = notice
        self._leases[gateway_id] = (boot_id, self._clock.monotonic() + ttl_s)

    async def renew_lease(
        self, gateway_id: str, boot_id: str, ttl_s: float, notice: GatewayNotice | None = None
    ) -> bool:
        if self._live().boots.get(gateway_id) != boot_id:
            return False
        await self.take_lease(gateway_id, boot_id, ttl_s, notice)
        return True

    async def drop_lease(self, gateway_id: str, boot_id: str) -> None:
        if self._live().boots.get(gateway_id) == boot_id:
            del self._leases[gateway_id]

    async def attach(self, routes: Sequence[tuple[str, Route]]) -> list[Attached]:
        return [self._attach(self._users[user_id], route) for user_id, route in routes]

    def _attach(self, user: _User, route: Route) -> Attached:
        replaced = user.routes.get(route.device_id)
        user.routes[route.device_id] = route
        if len(user.routes) > MAX_DEVICES:
            replaced = min(user.routes.values(), key=lambda held: held.since_ms)
            del user.routes[replaced.device_id]
        if replaced is not None and replaced.session_id == route.session_id:
            replaced = None
        return Attached(replaced, dict(user.reads))

    async def detach(self, routes: Sequence[tuple[str, Route]]) -> None:
        for user_id, route in routes:
            held = self._users[user_id].routes.get(route.device_id)
            if held is not None and _session(held) == _session(route):
                del self._users[user_id].routes[route.device_id]

    async def live_gateways(self) -> dict[str, str]:
        return self._live().boots

    async def gateways(self) -> list[GatewayNotice]:
        return [self._notices[name] for name in sorted(self._live().boots) if name in self._notices]

    async def routes_of(self, user_ids: Sequence[str]) -> dict[str, list[Route]]:
        boots = self._live().boots
        found = {
            user_id: [r for r in self._users[user_id].routes.values() if boots.get(r.gateway_id) == r.boot_id]
            for user_id in user_ids
        }
        return {user_id: routes for user_id, routes in found.items() if routes}

    # Who is there

    async def watch(self, user_ids: Sequence[str], gateway_id: str) -> None:
        for user_id in user_ids:
            self._watchers[user_id].add(gateway_id)

    async def note_seen(self, user_ids: Sequence[str], at_ms: int) -> dict[str, tuple[str, ...]]:
        live = self._live()
        for user_id in user_ids:
            self._seen[user_id] = max(at_ms, self._seen.get(user_id, at_ms))
        watched = {user_id: live.among(self._watchers.get(user_id, ())) for user_id in user_ids}
        return {user_id: gateway_ids for user_id, gateway_ids in watched.items() if gateway_ids}

    async def last_seen(self, user_ids: Sequence[str]) -> dict[str, int]:
        return {user_id: self._seen[user_id] for user_id in user_ids if user_id in self._seen}

    # Fan-out

    async def index(
        self, touched: Mapping[str, Mapping[str, int]], heads: Mapping[str, Head]
    ) -> dict[str, tuple[str, ...]]:
        for conversation_id, head in heads.items():
            held = self._heads.get(conversation_id)
            if held is None or held.seq < head.seq:
                self._heads[conversation_id] = head
        live = self._live()
        located: dict[str, tuple[str, ...]] = {}
        for user_id, changed in touched.items():
            self._users[user_id].touch(changed)
            located[user_id] = live.gateways_of(self._users[user_id].stored())
        return {user_id: gateways for user_id, gateways in located.items() if gateways}

    async def readers(self, conversation_id: str) -> tuple[str, ...] | None:
        if conversation_id not in self._filled:
            return None
        return self._live().among(self._readers[conversation_id])

    async def fill_readers(self, conversation_id: str, members: Mapping[str, int]) -> tuple[str, ...]:
        self._filled.add(conversation_id)
        return self._join(conversation_id, members)

    async def join_readers(self, conversation_id: str, users: Sequence[str], seq: int) -> tuple[str, ...]:
        return self._join(conversation_id, dict.fromkeys(users, seq))

    async def leave_readers(self, conversation_id: str, users: Sequence[str], seq: int) -> tuple[str, ...]:
        for user_id in users:
            self._users[user_id].leave(conversation_id, seq)
        return self._live().among(self._gateways_of(users))

    async def add_reader(self, conversation_ids: Sequence[str], gateway_id: str) -> None:
        for conversation_id in conversation_ids:
            self._readers[conversation_id].add(gateway_id)

    # Sync

    async def inbox(self, user_id: str, since_ms: int) -> Inbox:
        user = self._users[user_id]
        changed = user.changed_since(since_ms)
        complete = user.complete_from_ms is not None and user.complete_from_ms <= max(since_ms, 0)
        return Inbox(complete, changed, sorted(user.reads))

    async def restore_inbox(self, user_id: str, changed: Mapping[str, int], complete: bool) -> None:
        user = self._users[user_id]
        newest, complete_from_ms = trim_inbox(changed)
        if complete:
            user.complete_from_ms = complete_from_ms
        user.touch(newest)

    async def pulse(self, users: Sequence[tuple[str, int]]) -> list[dict[str, int]]:
        return [
            newest_heads(
                {*self._users[user_id].changed_since(since_ms), *self._users[user_id].reads},
                self._heads,
                since_ms,
            )
            for user_id, since_ms in users
        ]

    async def heads(self, conversation_ids: Sequence[str]) -> dict[str, Head]:
        return {name: self._heads[name] for name in conversation_ids if name in self._heads}

    # Watermarks

    async def set_watermarks(self, stage: str, done: Mapping[int, int]) -> None:
        for partition, at_ms in done.items():
            self._watermarks[stage, partition] = at_ms

    async def watermarks(self, stage: str) -> dict[int, int]:
        return {number: at_ms for (name, number), at_ms in self._watermarks.items() if name == stage}

    async def watermark(self, stages: Sequence[str], partitions: int) -> int:
        return min(
            self._watermarks.get((stage, partition), 0) for stage in stages for partition in range(partitions)
        )

    # Who runs

    async def announce(self, process: Announced, ttl_s: float) -> None:
        self._announced[process] = self._clock.now_ms() + int(ttl_s * 1000)

    async def announced(self) -> list[Announced]:
        now_ms = self._clock.now_ms()
        return sorted(process for process, until_ms in self._announced.items() if until_ms > now_ms)

    # Reports

    async def put_report(self, name: str, report: bytes, ttl_s: float) -> None:
        self._reports[name] = (report, self._clock.monotonic() + ttl_s)

    async def report(self, name: str) -> bytes | None:
        report, until = self._reports.get(name, (b"", 0.0))
        return report if until > self._clock.monotonic() else None

    # Stages that stopped on purpose

    async def report_stopped(self, stage: str, reason: str) -> None:
        self._stopped[stage] = (reason, self._clock.now_ms())

    async def stopped(self) -> dict[str, str]:
        since_ms = self._clock.now_ms() - 1_000 * STOPPED_KEPT_S
        return {stage: reason for stage, (reason, at_ms) in self._stopped.items() if at_ms > since_ms}

    # Behind them

    def _live(self) -> LiveGateways:
        now = self._clock.monotonic()
        return LiveGateways({name: boot_id for name, (boot_id, until) in self._leases.items() if until > now})

    def _join(self, conversation_id: str, members: Mapping[str, int]) -> tuple[str, ...]:
        for user_id, seq in members.items():
            self._users[user_id].join(conversation_id, seq)
        gateway_ids = self._gateways_of(members)
        self._readers[conversation_id] |= gateway_ids
        return self._live().among(gateway_ids)

    def _gateways_of(self, users: Iterable[str]) -> set[str]:
        return {route.gateway_id for user_id in users for route in self._users[user_id].routes.values()}


def _session(route: Route) -> tuple[str, str, str]:
    return route.gateway_id, route.boot_id, route.session_id
