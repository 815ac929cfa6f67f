"""The network of a run: which process reaches which engine over which link, and how to make its weather."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from infra.settings import Settings
from infra.stack.addresses import Address, free_ports, local_addresses
from infra.stack.process import ChildProcess, ChildSpec
from tests.faults.proxy import LinkPlan, Plan
from tests.faults.weather import Counts, Order, Weather

__all__ = ["ENGINES", "FRONT", "Network", "link_name"]

FRONT: Final = "clients"
"""The link that clients come in by: a balancer, behind which are all gateways."""
ENGINES: Final = ("kafka", "redis", "cassandra")
REPLY_TIMEOUT_S: Final = 10.0


def link_name(process: str, engine: str) -> str:
    return f"{process}-{engine}"


class Network:
    """`async with Network(…) as network:` — a link from each process to each engine, and one for clients.

    A broker sends its clients on to the address it advertises, so each process has a listener of the
    broker for itself, which advertises that process's own link.
    """

    def __init__(self, settings: Settings, processes: Sequence[str], gateways: Sequence[Address]) -> None:
        self._folder = settings.data_dir.absolute() / "network"
        self._settings = settings
        front, *ports = free_ports(1 + 4 * len(processes))
        self.front = Address("127.0.0.1", front)
        self._ports = {
            process: dict(zip((*ENGINES, "listener"), ports[4 * at : 4 * at + 4], strict=True))
            for at, process in enumerate(processes)
        }
        self._gateways = gateways
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._turn = asyncio.Lock()

    @property
    def processes(self) -> list[str]:
        return list(self._ports)

    def kafka_listeners(self) -> str:
        """Lines for the end of the broker's configuration, where they replace those before."""
        own, controller = local_addresses(self._settings)["IM_KAFKA"], self._settings.kafka_controller_port
        listeners = [f"CLIENT://{own}", f"CONTROLLER://127.0.0.1:{controller}"]
        advertised = [f"CLIENT://{own}"]
        protocols = ["CLIENT:PLAINTEXT", "CONTROLLER:PLAINTEXT"]
        for number, ports in enumerate(self._ports.values()):
            listeners.append(f"P{number}://127.0.0.1:{ports['listener']}")
            advertised.append(f"P{number}://127.0.0.1:{ports['kafka']}")
            protocols.append(f"P{number}:PLAINTEXT")
        return (
            "\n# One listener for each process, advertised as that process's link.\n"
            f"listeners={','.join(listeners)}\n"
            f"advertised.listeners={','.join(advertised)}\n"
            f"listener.security.protocol.map={','.join(protocols)}\n"
            "num.network.threads=1\n"
        )

    def environment(self, process: str) -> Mapping[str, str]:
        """The variables that lead this process to its links."""
        ports = self._ports[process]
        return {
            "IM_KAFKA": f"127.0.0.1:{ports['kafka']}",
            "IM_REDIS": f"redis://127.0.0.1:{ports['redis']}/0",
            "IM_CASSANDRA": f"127.0.0.1:{ports['cassandra']}",
        }

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        plan, control = self._folder / "plan.json", self._folder / "control.sock"
        plan.write_bytes(msgspec.json.encode(Plan(self._links(), str(control))))
        self._proxy = ChildProcess(
            ChildSpec(
                name="proxy",
                argv=(sys.executable, "-m", "tests.faults.proxy", str(plan)),
                log=self._settings.data_dir.absolute() / "log" / "proxy.log",
                ready=lambda: self._reaches(control),
            )
        )
        await self._proxy.start_ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        await self._proxy.stop()

    async def set_weather(self, link: str, weather: Weather) -> Counts:
        """Change it at once; returns the counts as they stand then."""
        return await self._give(Order(link, weather))

    async def counts(self, link: str) -> Counts:
        return await self._give(Order(link))

    async def _give(self, order: Order) -> Counts:
        assert self._reader is not None
        assert self._writer is not None
        async with self._turn, asyncio.timeout(REPLY_TIMEOUT_S):
            self._writer.write(msgspec.json.encode(order) + b"\n")
            return msgspec.json.decode(await self._reader.readline(), type=Counts)

    async def _reaches(self, control: Path) -> bool:
        try:
            self._reader, self._writer = await asyncio.open_unix_connection(str(control))
        except OSError:
            return False
        return True

    def _links(self) -> dict[str, LinkPlan]:
        engines = local_addresses(self._settings)
        links = {FRONT: LinkPlan(self.front.port, list(self._gateways), balanced=True)}
        for process, ports in self._ports.items():
            servers = {
                "kafka": Address("127.0.0.1", ports["listener"]),
                "redis": engines["IM_REDIS"],
                "cassandra": engines["IM_CASSANDRA"],
            }
            for engine, server in servers.items():
                links[link_name(process, engine)] = LinkPlan(ports[engine], [server])
        return links
