"""Whether a message can pass: what `/readyz` says, with a reason for each dependency."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import msgspec

from gateway.downlink import Downlink
from gateway.metrics import DEPENDENCIES, Metrics
from gateway.presence import Presence
from gateway.pulse import SYNC_STAGES
from infra.clock import Clock
from infra.ports import Bus, HistoryStore, RouteTable
from schemas.errors import Unavailable
from schemas.topics import INBOUND, RECEIPTS

__all__ = ["FRESH_MS", "Finding", "Health"]

FRESH_MS: Final = 10_000
"""How far a watermark may lie back; workers write one about every second, also when idle."""
_LOOK_S: Final = 2.0
_CALL_S: Final = 3.0
_PROBE_CONVERSATION: Final = "g:readyz"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One dependency."""

    ok: bool
    reason: str = ""


_NOT_LOOKED: Final = Finding(False, "not looked at yet")


class Health:
    """Looks at everything a message needs, every two seconds, and keeps the finding: a probe costs nothing.

    Moderation and sequencing are seen through fan-out: its watermark moves only if theirs did.
    """

    def __init__(
        self,
        bus: Bus,
        routes: RouteTable,
        history: HistoryStore,
        presence: Presence,
        downlink: Downlink,
        clock: Clock,
        partitions: int,
        metrics: Metrics,
    ) -> None:
        self._bus = bus
        self._routes = routes
        self._history = history
        self._presence = presence
        self._downlink = downlink
        self._clock = clock
        self._partitions = partitions
        self.draining = False
        self._findings: dict[str, Finding] = dict.fromkeys(DEPENDENCIES, _NOT_LOOKED)
        metrics.ready.set_function(lambda: self.ready)
        self._dependencies = metrics.dependencies

    @property
    def ready(self) -> bool:
        return not self.draining and all(f.ok for f in self._findings.values())

    def report(self) -> dict[str, object]:
        """The findings, and whether they add up."""
        return {"ready": self.ready, "draining": self.draining, "dependencies": self._findings}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> None:
        """Look at everything once, within bounds."""
        kafka, redis, cassandra, pipeline = await asyncio.gather(
            _bounded(self._kafka()),
            _bounded(self._redis()),
            _bounded(self._cassandra()),
            _bounded(self._pipeline()),
        )
        self._findings = {"kafka": kafka, "redis": redis, "cassandra": cassandra, "pipeline": pipeline}
        for name, finding in self._findings.items():
            self._dependencies[name].set(finding.ok)

    async def _kafka(self) -> Finding:
        for topic in (INBOUND, RECEIPTS):
            count = len(await self._bus.ends(topic))
            if count != self._partitions:
                return Finding(False, f"{topic} has {count} partitions, expected {self._partitions}")
        if self._downlink.silent_s > FRESH_MS / 1000:
            return Finding(False, "this gateway's own topic has not answered for 10 s")
        return Finding(True)

    async def _redis(self) -> Finding:
        return Finding(True) if self._presence.lease_held else Finding(False, "the lease is not held")

    async def _cassandra(self) -> Finding:
        await self._history.head(_PROBE_CONVERSATION)
        return Finding(True)

    async def _pipeline(self) -> Finding:
        stopped = await self._routes.stopped()
        if stopped:
            return Finding(False, "; ".join(f"{stage} has stopped: {why}" for stage, why in stopped.items()))
        for stage in SYNC_STAGES:
            reached_ms = await self._routes.watermark((stage,), self._partitions)
            if reached_ms == 0:
                return Finding(False, f"{stage} has written no watermark for some partition")
            behind_ms = self._clock.now_ms() - reached_ms
            if behind_ms > FRESH_MS:
                return Finding(False, f"{stage} is {behind_ms / 1000:.1f} s behind")
        return Finding(True)


async def _bounded(look: Coroutine[Any, Any, Finding]) -> Finding:
    try:
        async with asyncio.timeout(_CALL_S):
            return await look
    except Unavailable as error:
        return Finding(False, str(error) or "unavailable")
    except TimeoutError:
        return Finding(False, f"no answer within {_CALL_S:g} s")
