"""gateway/client/client.py: a client whose gateway is drained."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest

from gateway.client import Client
from gateway.client.events import MessageNew
from gateway.server import GatewayServer
from infra.ports import Route
from schemas.errors import Unavailable
from tests.gateway.path import settle
from tests.gateway.world import World, a_world

WAIT_S = 20.0


class Door:
    """Lets clients into the second gateway, or not yet, or not at all."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = asyncio.Event()
        self.refusals = 0
        attach = world.routes.attach

        async def attached(routes: Sequence[tuple[str, Route]]) -> object:
            if any(route.gateway_id == "gw-2" for _, route in routes):
                if self.refusals:
                    self.refusals -= 1
                    raise Unavailable("the table is away")
                await self.open.wait()
            return await attach(routes)

        monkeypatch.setattr(world.routes, "attach", attached)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as world:
        yield world


@pytest.fixture
async def other(world: World) -> AsyncIterator[GatewayServer]:
    other = world.another("gw-2")
    yield other
    await other.shutdown()


async def offered(world: World, gateway_id: str) -> None:
    """Return when clients are sent to this gateway too."""

    async def holds() -> bool:
        headers = {"Authorization": f"Bearer {world.token('ann')}"}
        url = world.http("/v1/gateways")
        async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
            body = await answer.json()
        return gateway_id in {offer["gateway_id"] for offer in body.get("gateways", ())}

    await settle(holds)


async def heard(client: Client, text: str) -> None:
    """Return when this message has come out."""
    async with asyncio.timeout(WAIT_S):
        async for event in client:
            if isinstance(event, MessageNew) and event.message.content == {"text": text}:
                return


async def test_the_next_connection_is_open_before_the_drained_one_is_left(
    world: World, other: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said meanwhile comes on the old one; what is said later on the new one."""
    door = Door(world, monkeypatch)
    alice = await world.enter("alice")
    async with Client(world.http(""), world.token("bob"), dispatch=True) as bob:
        await other.startup(port=0)
        await offered(world, "gw-2")
        draining = asyncio.create_task(world.gateway.drain())
        await settle(lambda: bob._connector.moving)
        await alice.say("d:alice:bob", "meanwhile", "m1")
        await heard(bob, "meanwhile")
        assert bob.state == "connected"
        door.open.set()
        await settle(lambda: any(s.user_id == "bob" for s in other.hub.sessions.values()))
        alice = await world.enter("alice", gateway=other)
        await alice.say("d:alice:bob", "later", "m2")
        await heard(bob, "later")
        await draining


async def test_who_is_not_let_in_elsewhere_comes_in_later(
    world: World, other: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He stays where he is, and tries again; at the latest when the drained connection ends."""
    door = Door(world, monkeypatch)
    door.refusals = 2
    door.open.set()
    async with Client(world.http(""), world.token("bob"), dispatch=True) as bob:
        await other.startup(port=0)
        await offered(world, "gw-2")
        await world.gateway.drain()
        await settle(lambda: any(s.user_id == "bob" for s in other.hub.sessions.values()))
        alice = await world.enter("alice", gateway=other)
        await alice.say("d:alice:bob", "later", "m2")
        await heard(bob, "later")


async def test_a_client_that_is_closed_while_it_moves_leaves_nothing_open(
    world: World, other: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither here nor there."""
    Door(world, monkeypatch)
    async with Client(world.http(""), world.token("bob"), dispatch=True) as bob:
        await other.startup(port=0)
        await offered(world, "gw-2")
        draining = asyncio.create_task(world.gateway.drain())
        await settle(lambda: bob._connector.moving)
    await draining
    await settle(lambda: not world.gateway.hub.sessions)
