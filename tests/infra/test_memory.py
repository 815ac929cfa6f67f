"""The memory twins hold what the ports promise."""

from __future__ import annotations

import pytest

from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.history import MemoryHistory
from infra.memory.limits import MemorySharedLimits
from infra.memory.routes import MemoryRouteTable
from schemas.topics import MESSAGES
from tests.contracts import bus, history, route_table, shared_limits


def name_of(check: object) -> str:
    return getattr(check, "__name__", "")


@pytest.mark.parametrize("check", route_table.CHECKS, ids=name_of)
async def test_route_table(check: route_table.Check) -> None:
    """The route table in memory passes the check."""
    clock = ManualClock()

    async def elapse(seconds: float) -> None:
        clock.advance(seconds)

    await check(MemoryRouteTable(clock), elapse)


@pytest.mark.parametrize("check", bus.CHECKS, ids=name_of)
async def test_bus(check: bus.Check) -> None:
    """The log in memory passes the check."""
    await check(MemoryBus(4, ManualClock()), MESSAGES)


@pytest.mark.parametrize("check", history.CHECKS, ids=name_of)
async def test_history(check: history.Check) -> None:
    """The history in memory passes the check."""
    await check(MemoryHistory())


@pytest.mark.parametrize("check", shared_limits.CHECKS, ids=name_of)
async def test_shared_limits(check: shared_limits.Check) -> None:
    """The shared limits in memory pass the check."""
    clock = ManualClock()

    async def elapse(seconds: float) -> None:
        clock.advance(seconds)

    await check(MemorySharedLimits(clock), elapse)
