"""`im status` says how far each stage is, and what is unaccounted for."""

from __future__ import annotations

from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.routes import MemoryRouteTable
from infra.ports import Outgoing
from pipeline.ops.accounts.audit import Account
from pipeline.ops.accounts.findings import Between
from pipeline.ops.accounts.ledger_view import account_line
from pipeline.status import StageStatus, Status, stage_statuses
from pipeline.topology import group_of


def an_account(**unaccounted: int) -> Account:
    counts: dict[Between, int] = {"message-row": unaccounted.get("rows", 0)}
    return Account(0, 60_000, 61_000, {"sent": 3, "stored": 3}, 2, counts, [])


async def test_each_stage_tells_what_waits_and_how_old_it_is() -> None:
    """Records beyond the group's commit wait; a stage that never reported does not run."""
    clock = ManualClock()
    bus, routes = MemoryBus(1, clock), MemoryRouteTable(clock)
    await bus.publish([Outgoing("im.inbound", 0, b"one"), Outgoing("im.inbound", 0, b"two")])
    bus.commit(group_of("moderation"), "im.inbound", 0, 1)
    await routes.set_watermarks("moderation", {0: clock.now_ms() - 500})
    first, *others = await stage_statuses(bus, routes, clock.now_ms(), 1)
    assert (first.waiting, first.behind_ms, first.state) == (1, 500, "ok")
    assert {stage.state for stage in others} == {"not running"}


def test_something_unaccounted_is_not_ok() -> None:
    """The command's exit follows the stages and the ledger."""
    fine = [StageStatus("moderation", "im.inbound", 0, 10)]
    assert Status(fine, None).ok
    assert Status(fine, an_account()).ok
    assert not Status(fine, an_account(rows=1)).ok
    assert not Status([StageStatus("moderation", "im.inbound", 0, -1)], None).ok


def test_the_account_is_one_line() -> None:
    """The number, the window it speaks of, and the sums; or who should keep the books."""
    line = account_line(an_account(rows=1))
    assert line.startswith("unaccounted: 1   00:00:00Z–00:01:00Z")
    assert "sent 3" in line
    assert "in flight 2" in line
    assert "im ledger run" in account_line(None)
