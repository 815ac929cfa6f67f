"""The audit as a process of its own: off the main path, and harmless if there are two."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import msgspec
import structlog
from aiohttp import web
from prometheus_client import Counter as Total
from prometheus_client import Gauge, generate_latest

from infra.cassandra import CassandraHistory
from infra.clock import SystemClock
from infra.kafka import KafkaBus
from infra.redis import RedisRouteTable
from infra.settings import Settings
from pipeline.ops.accounts.audit import REPORT, Account, Audit, Result
from schemas.errors import Unavailable

__all__ = ["LedgerService"]

log = structlog.get_logger(__name__)

_unaccounted = Gauge("im_ledger_unaccounted", "Messages that are missing or double, by step.", ["between"])
_messages = Total("im_ledger_messages_total", "What became of messages and deliveries.", ["result"])
_in_flight = Gauge("im_ledger_in_flight", "Records that a stage has not committed yet.")
_lag = Gauge("im_ledger_lag_seconds", "Age of the newest moment the books are closed up to.")
_processor = Total("im_ledger_processor_seconds_total", "Processor time of all rounds.")

_REPORT_KEPT_S = 300.0
"""A report outlives its service by this time; it says itself up to when the books are closed."""


class LedgerService:
    """Four verbs: `startup`, `serve`, `drain`, `shutdown`."""

    def __init__(self, settings: Settings) -> None:
        clock = SystemClock()
        self._settings = settings
        self._bus = KafkaBus(settings, client_id="im-ledger")
        self._routes = RedisRouteTable(settings, clock)
        self._history = CassandraHistory(settings)
        self._audit = Audit(settings, self._bus, self._history, self._routes, clock)
        self._counted: Counter[Result] = Counter()
        self._web: web.AppRunner | None = None

    async def startup(self) -> None:
        """Open the doors and begin the books. Raises `Unavailable` naming the engine that is away."""
        await self._bus.startup()
        await self._routes.startup()
        await self._history.startup()
        await self._audit.open()
        await self._serve_probes()
        log.info("ledger.ready")

    async def serve(self, stop: asyncio.Event) -> None:
        """Round after round until told to stop; without a pause while there is more to read."""
        while not stop.is_set():
            level = True
            try:
                level = await self._round()
            except Unavailable as error:
                log.warning("ledger.waits", error=str(error))
            try:
                await asyncio.wait_for(stop.wait(), self._settings.ledger_interval_s if level else 0.01)
            except TimeoutError:
                continue

    async def drain(self, *, replaced: bool) -> None:
        """Nothing is under way: the next process begins a minute back."""

    async def shutdown(self) -> None:
        """Close the doors."""
        if self._web is not None:
            await self._web.cleanup()
        await self._bus.shutdown()
        await self._routes.shutdown()
        await self._history.shutdown()

    async def _round(self) -> bool:
        started = time.process_time()
        account, level = await self._audit.round()
        self._export(account)
        await self._routes.put_report(REPORT, msgspec.json.encode(account), _REPORT_KEPT_S)
        if account.total:
            log.error(
                "ledger.unaccounted", count=account.total, first=msgspec.to_builtins(account.findings[:3])
            )
        _processor.inc(time.process_time() - started)
        return level

    def _export(self, account: Account) -> None:
        for between, count in account.unaccounted.items():
            _unaccounted.labels(between).set(count)
        for result, count in account.results.items():
            _messages.labels(result).inc(max(0, count - self._counted[result]))
        self._counted = Counter(account.results)
        _in_flight.set(account.in_flight)
        _lag.set((account.at_ms - account.until_ms) / 1000)

    async def _serve_probes(self) -> None:
        if not self._settings.worker_port:
            return
        app = web.Application()
        app.add_routes([web.get("/livez", _livez), web.get("/readyz", _livez), web.get("/metrics", _metrics)])
        self._web = web.AppRunner(app, access_log=None)
        await self._web.setup()
        await web.TCPSite(self._web, self._settings.host, self._settings.worker_port).start()


async def _livez(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), content_type="text/plain", charset="utf-8")
