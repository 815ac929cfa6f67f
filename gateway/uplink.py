"""From sessions to the log: `accepted` is said only after the log has acknowledged.

The records of a loop turn go out together, in one lane for each partition: a lane has one flight
at a time, so what a connection sent stays in order also when a flight has to be repeated, and
partitions do not wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from gateway.hub import Caller
from gateway.metrics import Metrics
from infra.clock import Clock
from infra.ports import Bus, Outgoing
from schemas.codec import INBOUND
from schemas.codes import Code
from schemas.errors import BadInput, OutcomeUnknown, Refused, Unavailable
from schemas.records import Inbound
from schemas.topics import INBOUND as INBOUND_TOPIC
from schemas.topics import MAX_RECORD_BYTES

if TYPE_CHECKING:
    from infra.telemetry.tracing import Hop, Tracing

__all__ = ["Submission", "Uplink"]

log = structlog.get_logger(__name__)

_FULL_MS: Final = 1_000
_ROOM_BYTES: Final = 1_024
_RETRY_S: Final = 0.2


class Submission(msgspec.Struct, frozen=True, gc=False):
    """A record on its way, and who is told."""

    caller: Caller
    inbound: Inbound
    record: Outgoing
    hop: Hop | None = None
    """Its first step, if it is traced."""


class _Lane:
    """What waits for one partition, and since when the flight under way has been out."""

    __slots__ = ("flying_since", "pending", "task")

    def __init__(self) -> None:
        self.pending: list[Submission] = []
        self.task: asyncio.Task[None] | None = None
        self.flying_since = 0.0


class Uplink:
    """Publishes what clients ask.

    Promise: `accepted` means the log has it; a refusal (1303) means the log does not have it, for
    sure. While an outcome is unknown the same records, with the same ids, are sent again in the
    same order and nobody is told anything. Limits: `max_records` and `max_bytes` of all connections
    (1302), and a lane whose flight is out for longer than `publish_timeout_s` takes no more (1303).
    `told` is called after sessions were given answers.
    """

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        metrics: Metrics,
        publish_timeout_s: float,
        told: Callable[[], None],
        max_records: int = 50_000,
        max_bytes: int = 67_108_864,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._bus = bus
        self._clock = clock
        self._metrics = metrics
        self._publish_timeout_s = publish_timeout_s
        self._told = told
        self._lanes: dict[int, _Lane] = {}
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._pending = 0
        self._pending_bytes = 0
        metrics.uplink_pending.set_function(lambda: self._pending)

    @property
    def backlog(self) -> tuple[int, int, float]:
        """Records that wait for the log, their bytes, and how many seconds the oldest flight is out."""
        now = self._clock.monotonic()
        out_s = [now - lane.flying_since for lane in self._lanes.values() if lane.flying_since]
        return self._pending, self._pending_bytes, max(out_s, default=0.0)

    def submit(self, caller: Caller, inbound: Inbound, traceparent: str | None = None) -> None:
        """Take a record. Raises `Refused` without taking it when it is too large or too much is waiting.

        A `traceparent` decides whether it is traced; without one, chance does.
        """
        value = INBOUND.encode(inbound)
        if len(value) > MAX_RECORD_BYTES - _ROOM_BYTES:
            raise Refused(Code.FRAME_TOO_LARGE)
        if self._pending >= self._max_records or self._pending_bytes + len(value) > self._max_bytes:
            raise Refused(Code.OVERLOADED, "too many records wait for the log", retry_after_ms=_FULL_MS)
        key = inbound.conversation_id
        partition = self._bus.partition_for(key)
        lane = self._lanes.get(partition)
        if lane is None:
            lane = self._lanes[partition] = _Lane()
        if lane.task is None:
            lane.task = asyncio.create_task(self._fly(lane))
        elif lane.flying_since and self._clock.monotonic() - lane.flying_since > self._publish_timeout_s:
            raise Refused(Code.UNAVAILABLE)
        hop = None
        if self._tracing is not None:
            hop = self._tracing.send(INBOUND_TOPIC, partition, inbound.message_id, traceparent)
        headers = hop.headers if hop is not None else ()
        record = Outgoing(INBOUND_TOPIC, partition, value, key.encode(), headers)
        lane.pending.append(Submission(caller, inbound, record, hop))
        self._pending += 1
        self._pending_bytes += len(value)

    async def flush(self, timeout_s: float) -> bool:
        """Wait until nothing is under way; False when that takes longer than the timeout."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        if not tasks:
            return True
        _, late = await asyncio.wait(tasks, timeout=timeout_s)
        return not late

    def abandon(self) -> None:
        """Stop trying. Nobody was told `accepted` for what is still under way."""
        for lane in self._lanes.values():
            if lane.task is not None:
                lane.task.cancel()

    async def _fly(self, lane: _Lane) -> None:
        """Empty a lane, flight by flight. The first flight leaves with all of its loop turn."""
        try:
            while lane.pending:
                flight, lane.pending = lane.pending, []
                lane.flying_since = self._clock.monotonic()
                refused = await self._publish([s.record for s in flight])
                self._metrics.publish_s.observe(self._clock.monotonic() - lane.flying_since, len(flight))
                lane.flying_since = 0.0
                self._pending -= len(flight)
                self._pending_bytes -= sum(len(s.record.value or b"") for s in flight)
                self._answer(flight, refused)
        finally:
            lane.task = None

    async def _publish(self, records: Sequence[Outgoing]) -> Refused | None:
        """Send until the outcome is known: None, or why nothing of it was sent."""
        unknown = False
        while True:
            try:
                await self._bus.publish(records)
            except BadInput as error:
                log.error("the log refused records", records=len(records), error=str(error))
                return Refused(Code.UNAVAILABLE)
            except Unavailable as error:
                unknown = unknown or isinstance(error, OutcomeUnknown)
                log.warning("publish failed", records=len(records), unknown=unknown, error=str(error))
                if not unknown:
                    return Refused(Code.UNAVAILABLE)
                await asyncio.sleep(_RETRY_S)
            else:
                return None

    def _answer(self, flight: Sequence[Submission], refused: Refused | None) -> None:
        now_ms = self._clock.now_ms()
        self._metrics.sends.inc(len(flight))
        for submission in flight:
            inbound = submission.inbound
            if submission.hop is not None:
                submission.hop.end()
            if refused is None:
                submission.caller.accepted(inbound.client_msg_id, now_ms)
            else:
                submission.caller.refused(inbound.client_msg_id, inbound.conversation_id, refused)
        if refused is None:
            self._metrics.accepted.inc(len(flight))
        self._told()
