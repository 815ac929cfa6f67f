"""What gateways tell each other about limits, every 300 ms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from gateway.limits.guard import Guard
from gateway.limits.metrics import LimitMetrics
from infra.clock import Clock
from infra.ports import LimitsNotice, RouteTable, SharedLimits
from schemas.errors import Unavailable

__all__ = ["ROUND_S", "Exchange"]

log = structlog.get_logger(__name__)

ROUND_S: Final = 0.3


class Exchange:
    """Learns suspensions and quotas, tells those that began here, and balances shares.

    While the store is away, this gateway goes on with what it knows: its suspensions hold, its shares
    stay, messages go on. When the store has lost everything, it is told again.
    `told` is called after sessions were closed.
    """

    def __init__(
        self,
        shared: SharedLimits,
        routes: RouteTable,
        guard: Guard,
        clock: Clock,
        metrics: LimitMetrics,
        gateway_id: str,
        boot_id: str,
        told: Callable[[], None],
    ) -> None:
        self._shared = shared
        self._routes = routes
        self._guard = guard
        self._clock = clock
        self._metrics = metrics
        self._gateway_id = gateway_id
        self._boot_id = boot_id
        self._told = told
        self._born = ""
        self._version = ""
        self._alone = False

    async def run(self) -> None:
        """Exchange until cancelled; with IM_LIMITS=off there is nothing to exchange."""
        while True:
            await asyncio.sleep(ROUND_S)
            if self._guard.on:
                await self.round()

    async def round(self) -> None:
        """Once: what holds, what is new here, who asks for how much."""
        try:
            await self._learn(await self._shared.notice(self._version))
            await self._tell()
            await self._balance()
        except Unavailable as error:
            self._alone_now(True, str(error))
        else:
            self._alone_now(False)
        guard = self._guard
        guard.blacklist.forget_ended(self._clock.monotonic())
        self._metrics.suspended.set(len(guard.blacklist))
        self._metrics.quota_share_per_s.set(guard.quotas.share_per_s)
        self._told()

    async def _learn(self, notice: LimitsNotice) -> None:
        guard, lost = self._guard, bool(self._born) and notice.born != self._born
        if lost:
            log.warning("shared limits were lost; they are told again")
            guard.blacklist.tell_again()
            for tenant, per_s in guard.quotas.known_quotas().items():
                await self._shared.set_quota(tenant, per_s)
        elif notice.suspended is not None and notice.quotas is not None:
            now = self._clock.monotonic()
            guard.expel(guard.blacklist.learn(notice.suspended, notice.now_ms, now))
            guard.quotas.set_quotas(notice.quotas)
        self._born, self._version = notice.born, "" if lost else notice.version

    async def _tell(self) -> None:
        blacklist = self._guard.blacklist
        news = blacklist.take_news(self._clock.monotonic())
        if not news:
            return
        try:
            await self._shared.suspend(news)
        except Unavailable:
            blacklist.tell_again()
            raise

    async def _balance(self) -> None:
        quotas = self._guard.quotas
        if not quotas.in_force:
            return
        quotas.gateways = len(await self._routes.live_gateways())
        demands = quotas.demands(self._clock.monotonic())
        ledgers = await self._shared.balance(self._gateway_id, self._boot_id, demands)
        quotas.balance(ledgers, self._clock.monotonic())

    def _alone_now(self, alone: bool, reason: str = "") -> None:
        """Said once when it begins and once when it ends."""
        if alone and not self._alone:
            log.warning("limits of other gateways are not known for now", error=reason)
        elif self._alone and not alone:
            log.info("limits are shared again")
        self._alone = alone
        self._metrics.alone.set(alone)
