"""gateway/emptying.py and gateway/fleet.py: a gateway that is drained by order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus

from gateway import emptying
from gateway.emptying import due_count
from gateway.fleet import drain, plan_drain, undo_drain
from infra.ports import GatewayNotice
from schemas.codec import AUDIT
from schemas.errors import BadInput
from schemas.topics import AUDIT as AUDIT_TOPIC
from tests.gateway.path import settle
from tests.gateway.world import World, a_world


@given(st.integers(0, 500), st.floats(0.1, 1_000))
def test_turns_come_evenly_and_all_in_time(total: int, over_s: float) -> None:
    """Never fewer than before, never ahead by more than a step, everybody at the end."""
    times = [over_s * step / 20 for step in range(21)]
    counts = [due_count(total, at, over_s) for at in times]
    assert counts == sorted(counts)
    assert counts[-1] == total
    for at, count in zip(times[:-1], counts, strict=False):
        assert total * at / over_s <= count <= min(total, total * (at + 0.1) / over_s + 1)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(emptying, "_GRACE_S", 0.3)
    async with a_world() as world:
        yield world


def seen(_: GatewayNotice) -> None:
    """Nobody looks."""


async def drained(world: World, over_s: float = 0.5) -> bool:
    plan = plan_drain(await world.routes.gateways(), "gw-1")
    return await drain(world.bus, world.routes, world.clock, "ann", plan, over_s, seen)


async def test_a_drained_gateway_is_empty_and_takes_nobody(world: World) -> None:
    """Everybody gets `drain`, then 4000 if he stays; connects get 503 with Retry-After; it leaves the set."""
    people = [await world.enter(f"u{number}") for number in range(5)]
    patient, hasty = people[0], people[1]
    draining = asyncio.create_task(drained(world))
    assert (await hasty.expect("drain"))["reconnect_after_ms"] == 0
    await hasty.socket.close()
    for person in people:
        if person is not hasty:
            await person.expect("drain")
            assert await person.closed() == 4000
    assert await draining
    await settle(lambda: not world.gateway.hub.sessions)
    (notice,) = await world.routes.gateways()
    assert (notice.state, notice.weight) == ("drained", 0)
    assert not world.gateway.health.ready
    for query in ("", f"session_id={patient.welcome['session_id']}"):
        with pytest.raises(InvalidStatus) as refused:
            await world.enter("u0", query)
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"]


async def test_a_drained_gateway_takes_clients_again_when_told(world: World) -> None:
    """And both orders are in the audit, with how they ended."""
    assert await drained(world)
    assert await undo_drain(world.bus, world.routes, world.clock, "ann", "gw-1", seen)
    alice = await world.enter("alice")
    await alice.tell(type="ping")
    await alice.expect("pong")
    assert (await world.routes.gateways())[0].state == "open"
    read = [AUDIT.decode(record.value) for record in world.bus.records(AUDIT_TOPIC)]
    assert [(a.actor, a.action, a.target, a.state) for a in read] == [
        ("ann", "gateway.drain", "gw-1", "begun"),
        ("ann", "gateway.drain", "gw-1", "done"),
        ("ann", "gateway.undrain", "gw-1", "begun"),
        ("ann", "gateway.undrain", "gw-1", "done"),
    ]
    assert msgspec.json.decode(read[1].details) == {"drained": True}


async def test_an_undo_stops_a_drain_under_way(world: World) -> None:
    """Whoever was not told yet stays."""
    people = [await world.enter(f"u{number}") for number in range(3)]
    draining = asyncio.create_task(drained(world, over_s=600.0))
    await people[0].expect("drain")
    assert await undo_drain(world.bus, world.routes, world.clock, "ann", "gw-1", seen)
    await people[2].tell(type="ping")
    await people[2].expect("pong")
    draining.cancel()


async def test_a_plan_names_who_takes_the_clients() -> None:
    """Only open gateways count; a gateway that nobody knows is named with those that are alive."""
    notices = [
        GatewayNotice("gw-1", "ws://a", "", "open", 1, 30, 100),
        GatewayNotice("gw-2", "ws://b", "", "open", 1, 80, 100),
        GatewayNotice("gw-3", "ws://c", "", "draining", 0, 0, 100),
    ]
    plan = plan_drain(notices, "gw-1")
    assert (plan.connections, plan.others, plan.room, plan.fits) == (30, ["gw-2"], 20, False)
    assert plan_drain(notices, "gw-3").fits
    assert not plan_drain(notices[:1], "gw-1").fits
    with pytest.raises(BadInput, match=r"gw-9.*gw-1, gw-2, gw-3"):
        plan_drain(notices, "gw-9")
