"""A gateway with its real engines: the only place of this package that names them."""

from __future__ import annotations

import asyncio

from gateway.server import GatewayServer
from infra.cassandra import CassandraHistory
from infra.clock import SystemClock
from infra.kafka import KafkaBus, ensure_topics
from infra.lifecycle import released
from infra.redis import RedisRouteTable
from infra.redis_limits import RedisSharedLimits
from infra.settings import Settings
from infra.telemetry.start import start_tracing
from schemas.topics import outbound_topic

__all__ = ["GatewayProcess"]


class GatewayProcess:
    """A service (`infra.lifecycle`): opens the engines, then the gateway; closes in the opposite order."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        clock = SystemClock()
        self._bus = KafkaBus(settings, client_id=settings.gateway_id)
        self._routes = RedisRouteTable(settings, clock)
        self._history = CassandraHistory(settings)
        self._limits = RedisSharedLimits(settings)
        self._tracing = start_tracing(settings, "im-gateway", settings.gateway_id)
        self._gateway = GatewayServer(
            settings, self._bus, self._routes, self._history, self._limits, clock, self._tracing
        )

    async def startup(self) -> None:
        await ensure_topics(self._settings, (outbound_topic(self._settings.gateway_id),))
        await asyncio.gather(self._bus.startup(), self._routes.startup(), self._history.startup())
        await released()
        await self._gateway.startup()

    async def serve(self, stop: asyncio.Event) -> None:
        await self._gateway.serve(stop)

    async def drain(self, *, replaced: bool) -> None:  # noqa: ARG002 - the clients go elsewhere anyway
        await self._gateway.drain()

    async def shutdown(self) -> None:
        await self._gateway.shutdown()
        await asyncio.gather(
            self._bus.shutdown(), self._routes.shutdown(), self._history.shutdown(), self._limits.shutdown()
        )
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.shutdown)
