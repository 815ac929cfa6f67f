"""A gateway is drained while people talk through it: they move, and notice nothing."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from infra.clock import SystemClock
from infra.ports import GatewayNotice
from infra.redis import RedisRouteTable
from infra.stack.environment import child_environment
from infra.stack.local import LocalStack
from infra.stack.system import System
from tests.acceptance.patience import eventually, until
from tests.acceptance.people import Person
from tests.acceptance.test_end_to_end import fresh
from tests.acceptance.test_scale_out import PACE_S, PATIENCE_S, Edge, Talk, two_free_ports
from tests.conftest import Background, in_background

REGION = "drain"
"""Other gateways of the same stack take none of these clients."""

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

OVER_S = 4
PAIRS = 6
LEAST = 40


class Site:
    """Two gateways, asked as an operator asks."""

    def __init__(self, system: System) -> None:
        self.settings = system.settings
        self.ids = list(system.addresses)
        self.edges = [Edge(f"http://{address}", system) for address in system.addresses.values()]

    async def im(self, *arguments: str) -> int:
        """Run `im …`; its exit code."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "infra.cli",
            *arguments,
            env=child_environment(self.settings, os.environ),
        )
        return await process.wait()

    async def gateways(self) -> dict[str, GatewayNotice]:
        routes = RedisRouteTable(self.settings, SystemClock())
        try:
            return {notice.gateway_id: notice for notice in await routes.gateways()}
        finally:
            await routes.shutdown()

    async def busiest(self) -> str:
        """The gateway that holds most connections, once the notices tell of any."""
        ours = await until(
            self.gateways,
            lambda found: set(self.ids) <= found.keys() and any(found[i].connections for i in self.ids),
        )
        return max(self.ids, key=lambda name: ours[name].connections)

    async def offers(self, edge: Edge, ids: set[str]) -> None:
        """Return once clients are sent to these: a gateway knows of the others a second later."""
        await until(lambda: self.offered(edge), lambda offered: offered == ids)

    async def offered(self, edge: Edge) -> set[str]:
        """Which of ours clients are sent to, by one of them."""
        headers = {"Authorization": f"Bearer {edge.token('ann')}"}
        url = f"{edge.url}/v1/gateways"
        async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
            return {offer["gateway_id"] for offer in (await answer.json())["gateways"]} & set(self.ids)


@pytest.fixture(scope="module")
def site(background: Background, stack: LocalStack) -> Iterator[Site]:
    ports = {"gateways": 2, "port": two_free_ports(stack.settings.host), "region": REGION}
    system = System(stack, settings=stack.settings.model_copy(update=ports), prefix="drain-")
    for running in in_background(background, system):
        yield Site(running)


async def test_a_drain_under_traffic_loses_and_repeats_nothing(site: Site) -> None:
    """Everybody ends at the other gateway; each message is seen once, in order; undone, it is open again."""
    first, second = site.ids
    for edge in site.edges:
        await site.offers(edge, {first, second})
    async with AsyncExitStack() as here:
        people = [
            await here.enter_async_context(Person(edge, fresh("ann"), region=REGION))
            for _ in range(PAIRS)
            for edge in site.edges
        ]
        talks = [Talk(one, two) for one, two in zip(people[::2], people[1::2], strict=True)]
        for talk in talks:
            await talk.go_on()
            await talk.end()
        drained = await site.busiest()

        draining = asyncio.create_task(site.im("drain", drained, "--over", f"{OVER_S}s", "--yes"))
        async with asyncio.timeout(PATIENCE_S):
            while not draining.done() or talks[0].length < LEAST:
                for talk in talks:
                    await talk.go_on()
                await asyncio.sleep(PACE_S)
        assert await draining == 0
        for talk in talks:
            await talk.end()
        after = await site.gateways()
        assert (after[drained].state, after[drained].connections) == ("drained", 0)
        (other,) = set(site.ids) - {drained}
        for edge in site.edges:
            await site.offers(edge, {other})
        assert await site.im("drain", drained, "--undo") == 0
        for talk in talks:
            await talk.go_on()
            await talk.end()
        await site.offers(site.edges[0], {first, second})
        await eventually(lambda: all(p.client.state == "connected" for p in people), PATIENCE_S)


async def test_what_cannot_be_drained_is_a_clear_error(site: Site) -> None:
    """A gateway that nobody knows is a wrong call: exit 2."""
    assert await site.im("drain", "nobody", "--yes") == 2
