"""`im status`: how far each stage is, from the groups' offsets and the stages' watermarks."""

from __future__ import annotations

import msgspec
from rich.table import Table

from infra.clock import SystemClock
from infra.kafka import KafkaBus
from infra.ports import Bus, RouteTable
from infra.redis import RedisRouteTable
from infra.settings import Settings
from pipeline.app import group_of
from pipeline.topology import STAGES

__all__ = ["StageStatus", "read_status", "stage_statuses", "table_of"]

_STALE_MS = 10_000


class StageStatus(msgspec.Struct, frozen=True):
    """`waiting`: records not committed yet. `behind_ms`: age of the watermark, -1 if it never reported."""

    stage: str
    reads: str
    waiting: int
    behind_ms: int

    @property
    def state(self) -> str:
        if self.behind_ms < 0:
            return "not running"
        return "ok" if self.behind_ms < _STALE_MS else "behind"


async def read_status(settings: Settings) -> list[StageStatus]:
    """Ask the engines. Raises `Unavailable` naming the one that does not answer."""
    clock = SystemClock()
    bus, routes = KafkaBus(settings, client_id="im-status"), RedisRouteTable(settings, clock)
    await bus.startup()
    await routes.startup()
    try:
        return await stage_statuses(bus, routes, clock.now_ms(), settings.partitions)
    finally:
        await bus.shutdown()
        await routes.shutdown()


async def stage_statuses(bus: Bus, routes: RouteTable, now_ms: int, partitions: int) -> list[StageStatus]:
    """One row for each stage of the path, in its order."""
    rows = []
    for spec in STAGES:
        ends = await bus.ends(spec.reads)
        committed = await bus.committed(group_of(spec.name), spec.reads)
        waiting = sum(max(0, end - committed.get(partition, 0)) for partition, end in ends.items())
        mark = await routes.watermark((spec.name,), partitions)
        rows.append(StageStatus(spec.name, spec.reads, waiting, max(0, now_ms - mark) if mark else -1))
    return rows


def table_of(rows: list[StageStatus]) -> Table:
    table = Table("stage", "reads", "waiting", "behind", "state", title="Skein")
    for row in rows:
        behind = f"{row.behind_ms / 1000:.1f} s" if row.behind_ms >= 0 else "–"
        table.add_row(row.stage, row.reads, f"{row.waiting:,}", behind, row.state)
    return table
