"""The one outer loop of every stage: feed, decide, perform, and only then let the offset be committed.

P6 lives here. An engine that is away makes the loop wait and try again, with the offset where it
was; a record nobody can handle becomes a dead letter and the partition moves on, unless so many fail
that the fault must be ours: then the stage stops where it is. Anything nobody foresaw ends the
process, because an exception that leaves a Faust agent loses its record.
"""

from __future__ import annotations

import asyncio
import os
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import structlog

from infra.clock import Clock
from infra.ports import Bus, Outgoing, Record
from infra.telemetry.trace_context import trace_headers
from pipeline import metrics
from pipeline.batch import Batch, Buried, Chunk, Stage
from pipeline.dead_letter_limit import DeadLetterLimit
from pipeline.progress import Progress
from pipeline.tenure import Tenure, Term
from pipeline.topology import group_of
from schemas.errors import Unavailable
from schemas.topics import DEAD_LETTERS

if TYPE_CHECKING:
    from infra.telemetry.tracing import Hop, Tracing

__all__ = ["StageRunner", "dead_letter"]

log = structlog.get_logger(__name__)

_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0
"""What waits for an engine goes on within a second of its return (and the second its driver needs)."""
_EFFECTS_GRACE_S = 5.0
EXIT_STAGE_FAILED = 3


class StageRunner:
    """Runs one stage over the partitions this process owns, each in a coroutine of its own."""

    def __init__(
        self,
        stage: Stage[Any],
        bus: Bus,
        clock: Clock,
        progress: Progress,
        limit: DeadLetterLimit,
        tenure: Tenure | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.stage = stage
        self.progress = progress
        self.stopped = ""
        """Why the stage handles nothing more in this process; empty while it works."""
        self._limit = limit
        self._tenure = tenure
        self._bus = bus
        self._clock = clock
        self._metrics = metrics.stage(stage.name)
        self._tracing = tracing
        self._turns: dict[int, asyncio.Lock] = {}

    async def run_partition(self, chunks: AsyncIterator[Chunk]) -> None:
        """Handle the chunks of one partition in order, until it is taken away (cancelled).

        Its state is made at the first one, also if that is empty, and anew where one leaves records out and
        in each term: somebody else may have owned the partition meanwhile, and handled some. Faust says
        nothing of that to a worker that was out of its group and has the same partition again afterwards.
        """
        partition = next_offset = -1
        term: Term | None = None
        turn: asyncio.Lock | None = None
        try:
            async for chunk in chunks:
                if turn is None:
                    turn = await self._turn_of(chunk.partition)
                while chunk.start > next_offset or term != self._term:
                    if partition >= 0:
                        self.stage.revoke(partition)
                    partition, next_offset, term = chunk.partition, chunk.start, self._term
                    await self._until_done(partial(self.stage.assign, partition, chunk.start))
                    self._metrics.assigned()
                next_offset = chunk.end
                if chunk.records:
                    await self._handle(chunk.records, term)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._die(error)
        finally:
            if turn is not None:
                self.progress.forget(partition)
                self.stage.revoke(partition)
                turn.release()

    @property
    def _term(self) -> Term | None:
        return self._tenure.term if self._tenure is not None else None

    async def _turn_of(self, partition: int) -> asyncio.Lock:
        """Wait for whoever still finishes what he had begun in this partition, before it went and came back.

        His leaving would otherwise forget the state that his successor has just made.
        """
        turn = self._turns.setdefault(partition, asyncio.Lock())
        await turn.acquire()
        return turn

    async def _handle(self, records: Sequence[Record], term: Term | None) -> None:
        started, first, began_at = time.perf_counter(), records[0], self._clock.monotonic()
        batch = Batch(first.topic, first.partition, records, began_at, term=term)
        self.progress.begin(batch)
        hops = self._trace(batch)
        await self._until_done(partial(self.stage.load, batch))
        if self.stopped:
            await self._stand_still()
        effects = self.stage.plan(batch)
        reason = self._limit.take(
            batch.records, [b.record.offset for b in batch.buried], self._clock.monotonic()
        )
        if reason is not None:
            self._stop(f"{reason}: {batch.buried[-1].error}")
            await self._stand_still()
        if batch.buried:
            letters = [dead_letter(self.stage.name, buried, self._clock.now_ms()) for buried in batch.buried]
            await self._finish(partial(self._bus.publish, letters))
        await self._finish(partial(self.stage.perform, effects))
        for hop in hops:
            hop.end()
        self.progress.end(batch)
        self._metrics.batch_done(batch, time.perf_counter() - started)

    def _trace(self, batch: Batch) -> Sequence[Hop]:
        """Begin a step for each sampled record; without tracing here, traces pass through all the same."""
        if self._tracing is None:
            batch.trace = trace_headers(batch.records)
            return ()
        hops, batch.trace = self._tracing.process(batch.records, group_of(self.stage.name))
        return hops

    def _stop(self, reason: str) -> None:
        """Nothing of the batch at hand takes effect, no offset moves, until the process is started anew."""
        self.stopped = reason
        self._metrics.stopped()
        log.critical(
            "stage.stopped",
            stage=self.stage.name,
            reason=reason,
            do=f"see `im dlq list --stage {self.stage.name}`; deploy what understands them, or raise "
            "IM_DLQ_MAX_RATIO and IM_DLQ_MAX_CONSECUTIVE so that they go to im.dlq; then restart the worker",
        )

    async def _stand_still(self) -> NoReturn:
        """Keep the partition, and leave its records unread, until it is taken away (cancelled)."""
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")

    async def _finish(self, effect: Callable[[], Awaitable[None]]) -> None:
        """Perform an effect even if the partition is taken away meanwhile, as long as it ends soon.

        What was begun would otherwise land after the next owner has looked at the log.
        """
        task = asyncio.ensure_future(self._until_done(effect))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=_EFFECTS_GRACE_S)
            task.cancel()
            raise

    async def _until_done(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Call until it does not raise `Unavailable`, with a pause that doubles up to a second.

        Who is cancelled while several questions run side by side may be told of the one that failed instead.
        """
        pause_s = _PAUSE_S
        while True:
            try:
                return await attempt()
            except Unavailable as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError from error
                self._metrics.retry()
                log.warning("stage.waits", stage=self.stage.name, pause_s=pause_s, error=str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _die(self, error: BaseException) -> NoReturn:
        """End the process at once: the offset stays, the supervisor starts a new one, nothing is lost."""
        log.critical("stage.failed", stage=self.stage.name, error=repr(error), trace=traceback.format_exc())
        os._exit(EXIT_STAGE_FAILED)


def dead_letter(stage: str, buried: Buried, now_ms: int) -> Outgoing:
    """The original record for im.dlq, untouched, with the reason in headers named as KIP-1034 names them."""
    record, error = buried.record, buried.error
    reasons = {
        "__streams.errors.exception": type(error).__name__,
        "__streams.errors.message": str(error)[:1_000],
        "__streams.errors.stacktrace": "".join(traceback.format_exception(error))[-4_000:],
        "__streams.errors.topic": record.topic,
        "__streams.errors.partition": str(record.partition),
        "__streams.errors.offset": str(record.offset),
        "im-stage": stage,
        "im-failed-at": str(now_ms),
    }
    headers = (*record.headers, *((name, text.encode()) for name, text in reasons.items()))
    return Outgoing(DEAD_LETTERS, 0, record.value, record.key, headers)
