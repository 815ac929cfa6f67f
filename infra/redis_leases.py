"""Who is alive: the leases of the gateways in Redis, read at most once a second."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol, TypeVar

import msgspec

from infra import redis_scripts as scripts
from infra.clock import Clock
from infra.ports import GatewayNotice
from infra.redis_scripts import Command, run
from infra.routes import LiveGateways
from schemas.keys import GATEWAYS_KEY, lease_key, notice_key

__all__ = ["Calls", "RedisLeases"]

T = TypeVar("T")

_KNOWN_FOR_S: Final = 1.0
_FORGET_AFTER_S: Final = 600.0
_parse_notice: Final = msgspec.json.Decoder(GatewayNotice).decode


class Calls(Protocol):
    """What of `redis_calls.RedisCalls` the leases need."""

    async def call(self, commands: Iterable[Command], tries: int = ...) -> list[Any]: ...


class RedisLeases:
    """Takes and gives up leases, and judges by them. A lease taken or dropped here is seen here at once."""

    def __init__(self, redis: Calls, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._live = LiveGateways({})
        self._known_until = clock.monotonic()
        self._absent_since: dict[str, float] = {}

    async def renew(
        self, gateway_id: str, boot_id: str, ttl_s: float, notice: GatewayNotice | None = None
    ) -> bool:
        """As `ports.RouteTable.renew_lease`."""
        ttl_ms = int(ttl_s * 1000)
        hold = run(scripts.RENEW_LEASE, [lease_key(gateway_id)], [boot_id, ttl_ms])
        held, *_ = await self._redis.call([hold, *_said(gateway_id, notice, ttl_ms)], tries=1)
        return bool(held)

    async def take(
        self, gateway_id: str, boot_id: str, ttl_s: float, notice: GatewayNotice | None = None
    ) -> None:
        """As `ports.RouteTable.take_lease`."""
        ttl_ms = int(ttl_s * 1000)
        hold: Command = ("SET", lease_key(gateway_id), boot_id, "PX", ttl_ms)
        await self._redis.call([hold, *_said(gateway_id, notice, ttl_ms)], tries=1)
        self._known_until = self._clock.monotonic()

    async def drop(self, gateway_id: str, boot_id: str) -> None:
        """As `ports.RouteTable.drop_lease`."""
        await self._redis.call([run(scripts.DROP_LEASE, [lease_key(gateway_id)], [boot_id])])
        self._known_until = self._clock.monotonic()

    async def live(self) -> LiveGateways:
        """The leases, at most a second old."""
        now = self._clock.monotonic()
        if now >= self._known_until:
            self._live = LiveGateways(await self._read(now))
            self._known_until = now + _KNOWN_FOR_S
        return self._live

    async def notices(self) -> list[GatewayNotice]:
        """As `ports.RouteTable.gateways`."""
        live = sorted((await self.live()).boots)
        texts = await self._redis.call([("GET", notice_key(gateway_id)) for gateway_id in live])
        return [_parse_notice(text) for text in texts if text is not None]

    async def judge(self, verdict: Callable[[LiveGateways], T]) -> T:
        """A verdict over what was just read from Redis.

        A gateway may have begun after the leases were read, and then its first users would count as
        absent: so at an unknown lease they are read once more. One that is dead costs this once a second.
        """
        live = await self.live()
        first = verdict(live)
        unknown = live.strangers - live.dead
        if not unknown:
            return first
        self._known_until = self._clock.monotonic()
        live = await self.live()
        second = verdict(live)
        live.dead |= unknown & live.strangers
        return second

    async def _read(self, now: float) -> dict[str, str]:
        (known,) = await self._redis.call([("SMEMBERS", GATEWAYS_KEY)])
        boots = await self._redis.call([("GET", lease_key(gateway_id)) for gateway_id in known])
        held = {name: boot_id for name, boot_id in zip(known, boots, strict=True) if boot_id is not None}
        absent = {name: self._absent_since.get(name, now) for name in known if name not in held}
        # A gateway that is forgotten by mistake is known again at its next renewal.
        if gone := [name for name, since in absent.items() if now - since >= _FORGET_AFTER_S]:
            await self._redis.call([("SREM", GATEWAYS_KEY, *gone)])
        self._absent_since = absent
        return held


def _said(gateway_id: str, notice: GatewayNotice | None, ttl_ms: int) -> Iterator[Command]:
    """What comes with a lease: that there is such a gateway, and what it says of itself."""
    yield ("SADD", GATEWAYS_KEY, gateway_id)
    if notice is not None:
        yield ("SET", notice_key(gateway_id), msgspec.json.encode(notice).decode(), "PX", ttl_ms)
