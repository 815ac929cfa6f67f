"""One worker process: some stages of the path, each with its own consumer group, on one event loop."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import cast

import faust
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from infra.announcing import keep_announced, reachable_address
from infra.cassandra import CassandraHistory
from infra.clock import SystemClock
from infra.kafka import KafkaBus
from infra.lifecycle import released
from infra.ports import Announced
from infra.redis import RedisRouteTable
from infra.settings import Settings
from infra.telemetry.loop_lag import watch_loop
from infra.telemetry.start import start_tracing
from infra.together import together
from pipeline.app import create_app
from pipeline.dead_letter_limit import DeadLetterLimit
from pipeline.progress import Progress
from pipeline.report import report_progress
from pipeline.stage import EXIT_STAGE_FAILED, StageRunner
from pipeline.tenure import Tenure
from pipeline.topology import Doors, StageSpec
from pipeline.transport import BatchConsumer, BatchTransport
from schemas.errors import Unavailable

__all__ = ["Worker"]

log = structlog.get_logger(__name__)

_REPORT_INTERVAL_S = 1.0
_OVERSEE_INTERVAL_S = 0.2
_STOP_TIMEOUT_S = 10.0


@dataclass(slots=True)
class _Running:
    spec: StageSpec
    runner: StageRunner
    app: faust.App


class Worker:
    """Four verbs: `startup`, `serve`, `drain`, `shutdown`."""

    def __init__(self, settings: Settings, specs: list[StageSpec]) -> None:
        self._settings = settings
        self._specs = specs
        self._clock = SystemClock()
        self._bus = KafkaBus(settings, client_id=settings.worker_id)
        self._routes = RedisRouteTable(settings, self._clock)
        self._history = CassandraHistory(settings)
        self._tracing = start_tracing(settings, "im-worker", settings.worker_id)
        self._running: list[_Running] = []
        self._web: web.AppRunner | None = None
        self._watching: list[asyncio.Task[None]] = []

    async def startup(self) -> None:
        """Open the doors, make the stages, join the groups; a standby joins them when it is released.

        Raises `Unavailable` naming the engine that is away.
        """
        await asyncio.gather(self._bus.startup(), self._routes.startup(), self._history.startup())
        doors = Doors(self._settings, self._clock, self._bus, self._routes, self._history)
        for spec in self._specs:
            stage = spec.build(doors)
            await stage.startup()
            limit = DeadLetterLimit.of(self._settings)
            tenure = Tenure(self._clock, self._settings.session_timeout_s)
            runner = StageRunner(stage, self._bus, self._clock, Progress(), limit, tenure, self._tracing)
            app = create_app(spec.name, spec.reads, self._settings, runner.run_partition, tenure)
            self._running.append(_Running(spec, runner, app))
        self._watching.append(asyncio.create_task(self._oversee()))
        await together(self._release(), *(running.app.start() for running in self._running))
        self._watching.append(asyncio.create_task(watch_loop()))
        await self._serve_probes()
        log.info("worker.ready", stages=[spec.name for spec in self._specs])

    async def _release(self) -> None:
        """Let the apps join their groups, when nothing but that is left and this process may begin."""
        transports = [cast(BatchTransport, running.app.transport) for running in self._running]
        for transport in transports:
            await transport.loaded.wait()
        await released()
        for transport in transports:
            transport.may_join.set()

    async def serve(self, stop: asyncio.Event) -> None:
        """Report progress until told to stop. A stage that has stalled ends the process."""
        while not stop.is_set():
            for running in self._running:
                try:
                    await self._report(running)
                except Unavailable as error:
                    log.warning("worker.cannot_report", stage=running.spec.name, error=str(error))
            try:
                await asyncio.wait_for(stop.wait(), _REPORT_INTERVAL_S)
            except TimeoutError:
                continue

    async def drain(self, *, replaced: bool) -> None:
        """What is under way ends, its offsets are committed, and the worker leaves its groups: the partitions
        move on. Who is `replaced` stays a member, and the process of its name has its partitions the moment
        it joins: the groups need not divide them anew, neither now nor then.
        """
        self._stop_watching()
        for running in self._running:
            cast(BatchTransport, running.app.transport).replaced = replaced
        await asyncio.gather(*(self._stop(running.app) for running in self._running))
        log.info("worker.drained", replaced=replaced)

    async def shutdown(self) -> None:
        """Close the doors."""
        self._stop_watching()
        if self._web is not None:
            await self._web.cleanup()
        await self._bus.shutdown()
        await self._routes.shutdown()
        await self._history.shutdown()
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.shutdown)

    def _stop_watching(self) -> None:
        for task in self._watching:
            task.cancel()

    async def _oversee(self) -> None:
        """End the process when a stage has died: also while it starts, or its reports wait for an engine."""
        while True:
            for running in self._running:
                gave_up = cast(BatchConsumer, running.app.consumer).gave_up
                if gave_up is not None or running.app.crashed or running.app.should_stop:
                    log.critical("worker.stage_stopped", stage=running.spec.name, error=repr(gave_up))
                    os._exit(EXIT_STAGE_FAILED)
            await asyncio.sleep(_OVERSEE_INTERVAL_S)

    async def _stop(self, app: faust.App) -> None:
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await app.stop()
        except TimeoutError:
            log.warning("worker.slow_stop", stage=app.conf.id)

    async def _report(self, running: _Running) -> None:
        """Publish the stage's watermarks, and end the process if a partition does not move any more.

        A stage that was stopped stands still on purpose: that is said instead.
        """
        spec, progress = running.spec, running.runner.progress
        if running.runner.stopped:
            await self._routes.report_stopped(spec.name, running.runner.stopped)
            return
        owned = {tp.partition for tp in running.app.consumer.assignment() if tp.topic == spec.reads}
        stalled = await report_progress(spec, progress, owned, self._bus, self._routes, self._clock)
        if stalled:
            log.critical("worker.stalled", stage=spec.name, partitions=sorted(stalled))
            os._exit(EXIT_STAGE_FAILED)

    async def _serve_probes(self) -> None:
        settings = self._settings
        if not settings.worker_port:
            return
        app = web.Application()
        app.add_routes(
            [web.get("/livez", _livez), web.get("/readyz", self._readyz), web.get("/metrics", _metrics)]
        )
        self._web = web.AppRunner(app, access_log=None)
        await self._web.setup()
        await web.TCPSite(self._web, settings.host, settings.worker_port).start()
        address = reachable_address(settings.host, settings.worker_port)
        here = Announced("worker", settings.worker_id, address)
        self._watching.append(asyncio.create_task(keep_announced(self._routes, here)))

    async def _readyz(self, _: web.Request) -> web.Response:
        """200 while every stage works; 503 with the reason of each that was stopped."""
        stages = {running.spec.name: running.runner.stopped for running in self._running}
        ready = not any(stages.values())
        report = {name: {"ok": not why, "reason": why} for name, why in stages.items()}
        return web.json_response({"ready": ready, "stages": report}, status=200 if ready else 503)


async def _livez(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
