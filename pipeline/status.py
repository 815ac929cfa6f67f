"""`im status`: how far each stage is, from the groups' offsets and the stages' watermarks; and the ledger."""

from __future__ import annotations

import msgspec
from rich.table import Table

from infra.clock import SystemClock
from infra.kafka import KafkaBus
from infra.ports import Bus, RouteTable
from infra.redis import RedisRouteTable
from infra.settings import Settings
from pipeline.ops.accounts.audit import Account
from pipeline.ops.accounts.ledger_view import account_line, newest_account
from pipeline.topology import STAGES, group_of

__all__ = ["StageStatus", "Status", "read_status", "stage_statuses", "table_of"]

_STALE_MS = 10_000


class StageStatus(msgspec.Struct, frozen=True):
    """`waiting`: records not committed yet. `behind_ms`: age of the watermark, -1 if it never reported.
    `stopped`: why a worker has stopped the stage."""

    stage: str
    reads: str
    waiting: int
    behind_ms: int
    stopped: str = ""

    @property
    def state(self) -> str:
        if self.stopped:
            return f"stopped: {self.stopped}"
        if self.behind_ms < 0:
            return "not running"
        return "ok" if self.behind_ms < _STALE_MS else "behind"


class Status(msgspec.Struct, frozen=True):
    """`account` None: nobody keeps the books."""

    stages: list[StageStatus]
    account: Account | None

    @property
    def ok(self) -> bool:
        """Whether every stage moves and nothing is unaccounted for."""
        return all(stage.state == "ok" for stage in self.stages) and not (self.account and self.account.total)


async def read_status(settings: Settings) -> Status:
    """Ask the engines. Raises `Unavailable` naming the one that does not answer."""
    clock = SystemClock()
    bus, routes = KafkaBus(settings, client_id="im-status"), RedisRouteTable(settings, clock)
    await bus.startup()
    await routes.startup()
    try:
        stages = await stage_statuses(bus, routes, clock.now_ms(), settings.partitions)
        return Status(stages, await newest_account(routes))
    finally:
        await bus.shutdown()
        await routes.shutdown()


async def stage_statuses(bus: Bus, routes: RouteTable, now_ms: int, partitions: int) -> list[StageStatus]:
    """One row for each stage of the path, in its order."""
    rows = []
    stopped = await routes.stopped()
    for spec in STAGES:
        ends = await bus.ends(spec.reads)
        committed = await bus.committed(group_of(spec.name), spec.reads)
        waiting = sum(max(0, end - committed.get(partition, 0)) for partition, end in ends.items())
        mark = await routes.watermark((spec.name,), partitions)
        behind_ms = max(0, now_ms - mark) if mark else -1
        rows.append(StageStatus(spec.name, spec.reads, waiting, behind_ms, stopped.get(spec.name, "")))
    return rows


def table_of(status: Status) -> Table:
    table = Table("stage", "reads", "waiting", "behind", "state", title="Skein")
    table.caption, table.caption_justify = account_line(status.account), "left"
    for row in status.stages:
        behind = f"{row.behind_ms / 1000:.1f} s" if row.behind_ms >= 0 else "–"
        table.add_row(row.stage, row.reads, f"{row.waiting:,}", behind, row.state)
    return table
