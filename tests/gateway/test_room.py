"""gateway/room.py and gateway/dispatch.py"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dispatch import Dispatch, offers_of
from gateway.hub import Hub
from gateway.metrics import Metrics
from gateway.room import MAX_WEIGHT, Room
from infra.clock import ManualClock
from infra.memory.routes import MemoryRouteTable
from infra.ports import GatewayNotice
from infra.settings import Settings
from schemas.codes import Code
from schemas.errors import Refused, Unavailable
from tests.gateway.makers import a_session, opened

MIB = 2**20


def a_room(sessions: int = 0, memory_mib: int = 0, lag_s: float = 0.0, **given_settings: Any) -> Room:
    hub = Hub(Metrics())
    for number in range(sessions):
        hub.add(opened(a_session(f"u{number}", f"s{number}")))
    values = {
        "max_connections": 10,
        "max_memory_mib": 100,
        "max_loop_lag_ms": 1_000,
        "port": 9,
    } | given_settings
    room = Room(Settings(**values), hub, ManualClock())
    room.memory_bytes, room.loop_lag_s = memory_mib * MIB, lag_s
    room.opened(8081)
    return room


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(0, 120), st.floats(0, 1.5))
def test_the_scarcest_resource_decides(sessions: int, memory_mib: int, lag_s: float) -> None:
    """Whoever is past a limit takes nobody and says so; else the weight is what is left, at least 1."""
    room = a_room(sessions, memory_mib, lag_s)
    left = min(1 - sessions / 10, 1 - memory_mib / 100, 1 - lag_s)
    notice = room.notice()
    if left <= 0:
        assert (notice.state, notice.weight) == ("full", 0)
        with pytest.raises(Refused) as refused:
            room.check()
        assert refused.value.code is Code.OVERLOADED
        assert refused.value.retry_after_ms
    else:
        room.check()
        assert notice.state == "open"
        assert notice.weight == max(1, round(MAX_WEIGHT * left))
        assert 1 <= notice.weight <= MAX_WEIGHT


def test_a_gateway_says_where_it_is() -> None:
    """By its port, or by the address it was given; nothing is offered before the port is open."""
    assert a_room().notice().url == "ws://127.0.0.1:8081/v1/ws"
    assert a_room(public_url="wss://chat.example/").notice().url == "wss://chat.example/v1/ws"
    closed = Room(Settings(), Hub(Metrics()), ManualClock())
    assert closed.notice().weight == 0


def test_one_that_is_not_ready_is_the_last_resort() -> None:
    """Taken where all others are no better; one that drains is not taken at all."""
    room = a_room()
    room.ready = False
    assert room.notice().weight == 1
    room.state = "draining"
    assert (room.notice().state, room.notice().weight) == ("draining", 0)


def a_notice(gateway_id: str, weight: int = 5, region: str = "", state: Any = "open") -> GatewayNotice:
    return GatewayNotice(gateway_id, f"ws://{gateway_id}/v1/ws", region, state, weight, 0, 10)


def test_only_those_with_room_are_offered() -> None:
    """The roomiest first; of the region that was asked for, if it has any."""
    notices = [
        a_notice("a", 3, "north"),
        a_notice("b", 7, "south"),
        a_notice("c", 9, "south", "draining"),
        a_notice("d", 0),
    ]
    assert [o.gateway_id for o in offers_of(notices, "")] == ["b", "a"]
    assert [o.gateway_id for o in offers_of(notices, "north")] == ["a"]
    assert [o.gateway_id for o in offers_of(notices, "east")] == ["b", "a"]


async def test_dispatch_knows_the_others_and_itself_as_it_is_now() -> None:
    """Without Redis it offers those it heard of last."""

    class Table(MemoryRouteTable):
        away = False

        async def gateways(self) -> list[GatewayNotice]:
            if self.away:
                raise Unavailable("away")
            return await super().gateways()

    clock = ManualClock()
    table, room = Table(clock), a_room(sessions=5)
    await table.take_lease("gw-2", "boot", 60.0, a_notice("gw-2", 900))
    await table.take_lease("gw-1", "boot", 60.0, a_notice("gw-1", 1_000))
    dispatch = Dispatch(table, room, clock)
    wanted = [("gw-2", 900), ("gw-1", 500)]
    assert [(o.gateway_id, o.weight) for o in await dispatch.offers("")] == wanted
    table.away = True
    clock.advance(2)
    assert [(o.gateway_id, o.weight) for o in await dispatch.offers("")] == wanted
    table.away = False
    await table.drop_lease("gw-2", "boot")
    clock.advance(2)
    assert [(o.gateway_id, o.weight) for o in await dispatch.offers("")] == [("gw-1", 500)]
