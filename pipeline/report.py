"""What a worker says about a stage: how far it is, to whoever builds sync tokens on it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from infra.clock import Clock
from infra.ports import Bus, RouteTable
from pipeline import metrics
from pipeline.progress import CLOCK_SKEW_MS, Progress
from pipeline.topology import StageSpec, group_of

__all__ = ["report_progress"]

_STALL_S: Final = 20.0


async def report_progress(
    spec: StageSpec, progress: Progress, owned: AbstractSet[int], bus: Bus, routes: RouteTable, clock: Clock
) -> set[int]:
    """Publish the stage's watermarks. Returns the partitions that do not move any more (`Progress.stalled`).

    Raises `Unavailable`.
    """
    if not owned:
        metrics.stage(spec.name).stand({})
        return set()
    now_ms = clock.now_ms()
    if spec.upstream is None:
        log_time_ms = progress.log_time_ms(now_ms, clock.monotonic())
        upstream = dict.fromkeys(owned, log_time_ms - CLOCK_SKEW_MS)
    else:
        known = await routes.watermarks(spec.upstream)
        upstream = {p: known[p] for p in owned if p in known}
    ends = await bus.ends(spec.reads)
    committed = await bus.committed(group_of(spec.name), spec.reads)
    progress.idle(ends, committed, upstream)
    marks = {p: ms for p, ms in progress.watermarks().items() if p in owned}
    if marks:
        await routes.set_watermarks(spec.name, marks)
    metrics.stage(spec.name).stand(metrics.standings(owned, committed, ends, marks, now_ms))
    return progress.stalled(owned, ends, committed, clock.monotonic(), _STALL_S)
