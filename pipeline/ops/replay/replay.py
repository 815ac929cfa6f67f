"""Applying a plan: the records of its offsets through one stage, at its pace, as far as it gets each time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from infra.audit import audited
from infra.ports import Record
from pipeline.batch import Batch, Stage
from pipeline.ops.replay.pace import Pace
from pipeline.ops.replay.patience import patiently
from pipeline.ops.replay.plan import Plan, Range, load_plan
from pipeline.ops.replay.progress import Progress, exclusive, load_progress, save_progress
from pipeline.ops.replay.stages import stage_of
from pipeline.topology import Doors
from schemas.codec import MESSAGE
from schemas.errors import BadInput

__all__ = ["Replay", "apply_plan"]

_STEP_RECORDS: Final = 50_000
_STEP_BYTES: Final = 33_554_432
"""A step ends with either. What it has of one conversation is one or two writes of Cassandra, each of which
waits for the commit log: 5,000 conversations went into it at 6,000 rows a second in steps of 5,000 records,
at 22,000 in these."""
_HEAD_START_S: Final = 0.001
"""For a step's requests to be on their way before the processor is taken by the next one's plan."""


async def apply_plan(
    doors: Doors,
    path: Path,
    actor: str,
    *,
    resume: bool,
    stop: asyncio.Event,
    report: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Apply a plan that was not begun, or go on with one that was.

    Ends when all is done, or soon after `stop` is set (then it can be resumed). Reads by its own
    assignment: no group's offsets move. Raises `BadInput` if the plan does not hold any more, or was
    begun or not contrary to `resume`; `Unavailable` if an engine stays away: then too it can be resumed.
    """
    plan = load_plan(path)
    with exclusive(path):
        progress = _begin(path, load_progress(path), resume)
        if progress.state == "done":
            return progress
        await _check(doors, plan, progress)
        details = {"plan": msgspec.to_builtins(plan), "next": progress.next}
        action = "replay.resume" if resume else "replay.apply"
        async with audited(doors.bus, doors.clock, actor, action, plan.plan_id, details) as outcome:
            try:
                await Replay(doors, plan, path, progress, stop, report).run()
            finally:
                outcome.update(msgspec.to_builtins(progress))
        return progress


def _begin(path: Path, progress: Progress | None, resume: bool) -> Progress:
    if progress is None and resume:
        raise BadInput(f"{path} was not begun: im replay apply {path}")
    if progress is not None and not resume and progress.state != "done":
        raise BadInput(f"{path} was begun: im replay resume {path}")
    return progress or Progress()


async def _check(doors: Doors, plan: Plan, progress: Progress) -> None:
    if doors.settings.keyspace != plan.keyspace:
        raise BadInput(f"the plan is for keyspace {plan.keyspace}, not {doors.settings.keyspace}")
    bus = doors.bus
    refusal = plan.refusal(
        await bus.beginnings(plan.topic), await bus.ends(plan.topic), MESSAGE.schema_id, progress.next
    )
    if refusal:
        raise BadInput(f"the plan does not hold any more: {refusal}")


class Replay:
    """One run over what is left of a plan.

    While the effects of one step are carried out, the next step is read and planned: at most these two are
    in memory, and effects and progress keep the order of the log.
    """

    def __init__(
        self,
        doors: Doors,
        plan: Plan,
        path: Path,
        progress: Progress,
        stop: asyncio.Event,
        report: Callable[[Progress], None],
    ) -> None:
        self._doors = doors
        self._plan = plan
        self._selection = plan.selection()
        self._path = path
        self._progress = progress
        self._stop = stop
        self._report = report
        self._clock = doors.clock
        self._pace = Pace(plan.rate, self._clock.monotonic())
        self._stage: Stage[Any] = stage_of(plan, doors, progress.file_bytes)
        self._step_began = self._clock.monotonic()
        self._under_way: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until the end of the plan, or until told to stop; the progress file says which."""
        progress = self._progress
        progress.state = "running"
        save_progress(self._path, progress)
        await self._stage.startup()
        try:
            for range_ in self._plan.ranges:
                await self._run_range(range_)
        finally:
            progress.state = "paused" if progress.left(self._plan) else "done"
            save_progress(self._path, progress)

    async def _run_range(self, range_: Range) -> None:
        start = max(range_.start, self._progress.next.get(range_.partition, 0))
        if start >= range_.end or self._stop.is_set():
            return
        await self._stage.assign(range_.partition, start)
        try:
            async with self._doors.bus.scan(self._plan.topic, range_.partition, start, range_.end) as runs:
                async for step in self._steps(runs):
                    selected = self._selection(step)
                    await self._wait(len(selected))
                    if self._stop.is_set():
                        return
                    await self._take(range_.partition, step, selected)
        finally:
            await self._step_done()
        self._stage.revoke(range_.partition)
        self._progress.next[range_.partition] = range_.end

    async def _steps(self, runs: AsyncIterator[Sequence[Record]]) -> AsyncIterator[list[Record]]:
        """Neighbouring records, as many as the pace and the bounds of a step allow."""
        most = min(_STEP_RECORDS, self._pace.burst or _STEP_RECORDS)
        step: list[Record] = []
        size_bytes = 0
        async for records in runs:
            for record in records:
                step.append(record)
                size_bytes += len(record.value or b"")
                if len(step) == most or size_bytes >= _STEP_BYTES:
                    yield step
                    step, size_bytes = [], 0
        if step:
            yield step

    async def _wait(self, count: int) -> None:
        """For the pace, or until told to stop."""
        wait_s = self._pace.wait_s(count, self._clock.monotonic())
        if wait_s > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait_s)

    async def _take(self, partition: int, records: Sequence[Record], selected: Sequence[Record]) -> None:
        """Plan one step; when the one before it is done, begin to carry it out."""
        batch = Batch(self._plan.topic, partition, selected, self._clock.monotonic())
        planned: Any = []
        if selected:
            await patiently(lambda: self._stage.load(batch))
            planned = self._stage.plan(batch)
        await self._step_done()
        self._under_way = asyncio.create_task(self._carry_out(batch, planned, records))
        await asyncio.wait([self._under_way], timeout=_HEAD_START_S)

    async def _step_done(self) -> None:
        """Wait for the step that is under way. Raises what it raised."""
        step, self._under_way = self._under_way, None
        if step is not None:
            await step

    async def _carry_out(self, batch: Batch, planned: Any, records: Sequence[Record]) -> None:
        """A step's effects, then its place in the progress file, together with its counts."""
        if planned:
            await patiently(lambda: self._stage.perform(planned))
        progress, now = self._progress, self._clock.monotonic()
        progress.read += len(records)
        progress.selected += len(batch.records)
        progress.effects += len(planned)
        for buried in batch.buried:
            progress.fail(f"{self._plan.topic}[{batch.partition}]@{buried.record.offset}", str(buried.error))
        progress.next[batch.partition] = records[-1].offset + 1
        progress.seconds += now - self._step_began
        self._step_began = now
        save_progress(self._path, progress)
        self._report(progress)
