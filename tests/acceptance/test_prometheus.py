"""A real Prometheus scrapes a running system: rules evaluate, and every panel has something to show."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from gateway.client.client import Client
from infra.clock import SystemClock
from infra.deploy.grafana.boards import BOARDS
from infra.redis import RedisRouteTable
from infra.stack.addresses import Address, free_ports
from infra.stack.probes import http_probe
from infra.stack.process import ChildProcess, ChildSpec
from tests.acceptance.patience import until
from tests.conftest import Running

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="module")]

PROMETHEUS = Path(__file__).parents[2] / "infra" / "deploy" / "prometheus"
SETTLES_S = 60.0
GRAPHS = [graph for board in BOARDS for graphs in board.rows.values() for graph in graphs]


async def targets_of(system: Running) -> list[str]:
    """Where the gateway and both workers answer, once they and nobody else announce it.

    Others of an earlier test are announced a little longer than they run.
    """
    table = RedisRouteTable(system.settings, SystemClock())
    await table.startup()
    try:
        announced = await until(
            table.announced,
            lambda found: sorted(process.role for process in found) == ["gateway", "worker", "worker"],
        )
        return [process.address for process in announced]
    finally:
        await table.shutdown()


def configure(folder: Path, targets: list[str]) -> Path:
    for name in ("objectives.yml", "alerts.yml"):
        shutil.copy(PROMETHEUS / name, folder / name)
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (job,) = config["scrape_configs"]
    del job["file_sd_configs"]
    job["static_configs"] = [{"targets": targets}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prometheus(system: Running, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of a Prometheus that scrapes the system each second."""
    binary = shutil.which("prometheus")
    assert binary is not None, "prometheus not found → sudo apt-get install prometheus"
    folder = tmp_path_factory.mktemp("prometheus")
    config = configure(folder, await targets_of(system))
    (port,) = free_ports(1)
    address = Address("127.0.0.1", port)
    argv = (
        binary,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    )
    child = ChildProcess(ChildSpec("prometheus", argv, folder / "log", http_probe(address, "/-/ready")))
    await child.start()
    try:
        await child.wait_ready()
        yield f"http://{address}"
    finally:
        await child.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def traffic(system: Running, prometheus: str) -> AsyncIterator[None]:
    """Two people talk as long as the tests ask."""

    async def talk() -> None:
        bob = Client(system.url, system.token("pro-bob"), platform="server")
        alice = Client(system.url, system.token("pro-alice"), platform="server")
        async with bob, alice:
            while True:
                await alice.send("d:pro-alice:pro-bob", "hello")
                await asyncio.sleep(0.2)

    task = asyncio.create_task(talk())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def ask(prometheus: str, path: str, **query: str) -> Any:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{prometheus}/api/v1/{path}", params=query) as answer,
    ):
        said = await answer.json()
        assert said["status"] == "success", said
        return said["data"]


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.title)
async def test_a_panel_has_something_to_show(prometheus: str, graph: Any) -> None:
    """Each query of a panel is understood, and gives at least one series while people talk."""
    for query in graph.queries.values():
        expression = query.replace("$__rate_interval", "30s")
        async with asyncio.timeout(SETTLES_S):
            while not (await ask(prometheus, "query", query=expression))["result"] and not graph.quiet:
                await asyncio.sleep(0.5)


async def test_every_rule_evaluates(prometheus: str) -> None:
    """No rule has an error against real series."""
    async with asyncio.timeout(SETTLES_S):
        while True:
            groups = (await ask(prometheus, "rules"))["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            if rules and all(rule["health"] == "ok" for rule in rules):
                break
            assert not [rule for rule in rules if rule["health"] == "err"]
            await asyncio.sleep(0.5)
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} >= {
        "StageStalled",
        "NoGatewayReady",
    }


async def test_every_process_is_scraped(prometheus: str) -> None:
    """Gateway and workers were found by what they announce, and all of them answer."""
    async with asyncio.timeout(SETTLES_S):
        while True:
            up = (await ask(prometheus, "query", query='up{job="skein"}'))["result"]
            if len(up) >= 3 and all(series["value"][1] == "1" for series in up):
                return
            await asyncio.sleep(0.5)
