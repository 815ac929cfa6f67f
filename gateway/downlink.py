"""From this gateway's own topic to its sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import structlog

from gateway.hub import Hub
from gateway.metrics import Metrics
from infra.clock import Clock
from infra.ports import Bus, Record, Subscription
from schemas.codec import OUTBOUND
from schemas.errors import Unavailable, Undecodable
from schemas.records import EPHEMERAL_S, Outbound

if TYPE_CHECKING:
    from infra.telemetry.tracing import Hop, Tracing

__all__ = ["Downlink"]

log = structlog.get_logger(__name__)

_POLL_S: Final = 1.0
_RETRY_S: Final = 0.2


class Downlink:
    """Reads Outbounds and dispatches them.

    The position is fixed by `startup`, which comes before this gateway's lease and its first
    route: what is fanned out to a session here is read here. Repeats are dropped by the source
    offset, which rises strictly for each source partition. Under load polls grow by themselves:
    what arrives while one batch is written shares frames in the next. An ephemeral frame that has
    waited in the log for longer than 5 s (while Kafka was away, or this process stood still) is told
    to nobody.
    """

    def __init__(
        self,
        bus: Bus,
        topic: str,
        hub: Hub,
        clock: Clock,
        metrics: Metrics,
        told: Callable[[], None],
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._bus = bus
        self._topic = topic
        self._hub = hub
        self._clock = clock
        self._metrics = metrics
        self._told = told
        self._subscription: Subscription | None = None
        self._highest: dict[int, int] = {}
        self._read_at = 0.0

    async def startup(self) -> None:
        self._subscription = await self._bus.subscribe_end(self._topic)
        self._read_at = self._clock.monotonic()

    @property
    def silent_s(self) -> float:
        """Seconds since the log last answered."""
        return self._clock.monotonic() - self._read_at

    async def run(self) -> None:
        """Read until cancelled."""
        subscription = self._opened()
        while True:
            try:
                records = await subscription.next_records(_POLL_S)
            except Unavailable as error:
                log.warning("downlink waits", error=str(error))
                await asyncio.sleep(_RETRY_S)
                continue
            self._read_at = self._clock.monotonic()
            if records:
                self.take(records)

    def take(self, records: Sequence[Record]) -> None:
        """Hand these records out, now."""
        hops: Sequence[Hop] = ()
        if self._tracing is not None:
            hops, _ = self._tracing.process(records, group=None)
        outbounds = [o for o in map(self._decode, records) if o is not None and self._is_new(o)]
        self._hub.dispatch(outbounds, self._clock.monotonic())
        self._told()
        for hop in hops:
            hop.end()
        self._time_deliveries()

    def _time_deliveries(self) -> None:
        """How long what was just written had been on its way; 0.5 µs a message, whatever its audience."""
        written = self._hub.written
        if not written:
            return
        now_ms = self._clock.now_ms()
        delivery_s = self._metrics.delivery_s
        for received_at_ms, frames in written:
            delivery_s.observe(max(0, now_ms - received_at_ms) / 1000, frames)
        written.clear()

    async def caught_up(self) -> bool:
        """Whether everything in the topic at the time of the call has been handed out."""
        return await self._opened().caught_up()

    async def shutdown(self) -> None:
        if self._subscription is not None:
            await self._subscription.close()

    def _opened(self) -> Subscription:
        if self._subscription is None:
            raise Unavailable("the downlink is not started")
        return self._subscription

    def _decode(self, record: Record) -> Outbound | None:
        """What is to be handed out of it; None for what fits no schema or comes too late."""
        try:
            outbound: Outbound = OUTBOUND.decode(record.value)
        except Undecodable as error:
            self._metrics.undecodable.inc()
            log.warning("undecodable outbound", offset=record.offset, error=str(error)[:200])
            return None
        # Without users it is a word between gateways, who then look at what is so now.
        if outbound.ephemeral and outbound.users and self._too_old(record):
            self._metrics.stale_ephemeral.inc()
            return None
        return outbound

    def _too_old(self, record: Record) -> bool:
        return self._clock.now_ms() - record.timestamp_ms > 1000 * EPHEMERAL_S

    def _is_new(self, outbound: Outbound) -> bool:
        if outbound.source_partition < 0:
            return True
        if outbound.source_offset <= self._highest.get(outbound.source_partition, -1):
            self._metrics.repeated.inc()
            return False
        self._highest[outbound.source_partition] = outbound.source_offset
        return True
