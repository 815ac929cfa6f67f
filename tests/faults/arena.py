"""What is disturbed: a run's own engines, gateways and workers, and all that a fault may lay hands on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from infra.kafka import KafkaBus
from infra.settings import Settings
from infra.stack.addresses import Address, free_ports, with_free_ports
from infra.stack.engine import Engine
from infra.stack.environment import child_environment
from infra.stack.local import LocalStack
from infra.stack.probes import http_probe
from infra.stack.process import ChildProcess, ChildSpec, Probe
from infra.stack.progress import Steps, silent_steps
from infra.stack.system import LEDGER, WORKERS, System
from infra.together import together
from schemas.errors import BadInput, Unavailable
from tests.faults.clocks import Clocks
from tests.faults.disk import Disk
from tests.faults.network import Network

__all__ = ["ENGINES", "GATEWAYS", "WORKER_NAMES", "Arena", "chaos_settings"]

SECOND: Final = "b-"
"""How the names of the second system begin."""
GATEWAYS: Final = ("gw-1", f"{SECOND}gw-1")
WORKER_NAMES: Final = tuple(prefix + name for prefix in ("", SECOND) for name, _ in WORKERS)
LEDGERS: Final = (LEDGER, SECOND + LEDGER)
ENGINES: Final = ("kafka", "redis", "cassandra")
LARGE_GROUP_MEMBERS: Final = 8
PARTITIONS: Final = 4
HEARTBEAT_S: Final = 5
START_TIMEOUT_S: Final = 240.0
START_TRIES: Final = 3


def chaos_settings(base: Settings, data_dir: Path) -> Settings:
    """Settings of a run: free ports, no rate limits, and limits low enough that a few users reach them.

    Session timeout, dedupe window, leases and acks are left as they ship.
    """
    update = {
        "data_dir": data_dir,
        "limits": "off",
        "partitions": PARTITIONS,
        "heartbeat_s": HEARTBEAT_S,
        "fanout_threshold_members": LARGE_GROUP_MEMBERS,
    }
    return with_free_ports(base.model_copy(update=update))


class Arena:
    """`async with Arena(settings) as arena:` — two gateways, four workers and two ledgers, each behind
    links of its own.

    Everything is a child of this process, on free ports; its data are under `settings.data_dir`.
    """

    def __init__(self, settings: Settings, steps: Steps | None = None) -> None:
        second = settings.model_copy(update={"port": free_ports(1)[0]})
        self.settings = settings
        self.gateways: Mapping[str, Address] = dict(
            zip(GATEWAYS, (Address(each.host, each.port) for each in (settings, second)), strict=True)
        )
        self.network = Network(settings, (*GATEWAYS, *WORKER_NAMES, *LEDGERS), list(self.gateways.values()))
        self.clocks = Clocks(settings.data_dir.absolute() / "clocks")
        self.disk = Disk(settings.data_dir.absolute() / "kafka")
        self.bus = KafkaBus(settings, client_id="chaos")
        self._parts = ((settings, ""), (second, SECOND))
        self._steps = steps or silent_steps()
        self._systems: list[System] = []
        self._specs: dict[str, ChildSpec] = {}
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as entered:
            entered.enter_context(self.disk)
            await entered.enter_async_context(self.network)
            stack = LocalStack(self.settings, self._steps, adapt=self._adapt_engine)
            await entered.enter_async_context(stack)
            await self.bus.startup()
            entered.push_async_callback(self.bus.shutdown)
            for settings, prefix in self._parts:
                self._systems.append(await self._start_system(entered, stack, settings, prefix))
            self._exit = entered.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    @property
    def url(self) -> str:
        """Where clients come in: one address, all gateways behind it."""
        return f"http://{self.network.front}"

    def token(self, user: str) -> str:
        return self._systems[0].token(user)

    @property
    def pids(self) -> Mapping[str, int]:
        """Everything that runs now: gateways, workers, engines."""
        return {name: pid for system in self._systems for name, pid in system.pids.items()}

    def kill(self, name: str) -> None:
        """SIGKILL; the supervisor starts it again."""
        self._system_of(name).kill(name)

    async def restart(self, name: str) -> None:
        """SIGTERM, a wait, a new start; returns when it is ready."""
        await self._system_of(name).restart(name)

    def signal(self, name: str, number: signal.Signals) -> None:
        """To its whole process group, if it runs."""
        pid = self.pids.get(name)
        if pid is not None:
            os.killpg(pid, number)

    def is_stopped(self, name: str) -> bool:
        """Whether a SIGSTOP holds it, as the kernel says."""
        pid = self.pids.get(name)
        return pid is not None and _kernel_state(pid) == "T"

    async def is_ready(self, name: str) -> bool:
        """Whether it runs and answers: readiness of a gateway or worker, a first request to an engine."""
        return name in self.pids and await self._probe(name)()

    async def wait_failed(self) -> None:
        """Wait until something keeps ending; raises `Unavailable` that names it."""
        await together(*(system.wait_failed() for system in self._systems))

    def web_address(self, name: str) -> Address:
        """Where a gateway or worker serves HTTP."""
        if name in self.gateways:
            return self.gateways[name]
        return Address("127.0.0.1", int(self._specs[name].env["IM_WORKER_PORT"]))

    def extra_worker(self, name: str) -> ChildProcess:
        """One more worker with all stages, which nobody starts again; it reaches the engines directly."""
        port = free_ports(1)[0]
        settings = self._systems[0].settings.model_copy(update={"worker_id": name, "worker_port": port})
        return ChildProcess(
            ChildSpec(
                name=name,
                argv=(sys.executable, "-m", "infra.cli", "worker"),
                log=settings.data_dir.absolute() / "log" / f"{name}.log",
                ready=http_probe(Address("127.0.0.1", port)),
                env=child_environment(settings, os.environ),
            )
        )

    async def _start_system(
        self, entered: AsyncExitStack, stack: LocalStack, settings: Settings, prefix: str
    ) -> System:
        """Tries again: on a busy machine a process may find an engine too slow for its bounds at first."""
        for tries_left in reversed(range(START_TRIES)):
            system = System(stack, self._steps, settings=settings, prefix=prefix, adapt=self._adapt)
            try:
                return await entered.enter_async_context(system)
            except Unavailable:
                if not tries_left:
                    raise
        raise AssertionError("the last try has returned or raised")

    def _system_of(self, name: str) -> System:
        return self._systems[1 if name.startswith(SECOND) else 0]

    def _probe(self, name: str) -> Probe:
        if name not in self._specs:
            raise BadInput(f"nothing is named {name}; there are: {', '.join(self._specs)}")
        return self._specs[name].ready

    def _adapt(self, spec: ChildSpec) -> ChildSpec:
        """Behind its own links, with a clock that can be moved, and time to start on a busy machine."""
        links, clock = self.network.environment(spec.name), self.clocks.environment(spec.name)
        adapted = replace(spec, env={**spec.env, **links, **clock}, start_timeout_s=START_TIMEOUT_S)
        self._specs[spec.name] = adapted
        return adapted

    def _adapt_engine(self, engine: Engine) -> Engine:
        engine = replace(engine, child=replace(engine.child, start_timeout_s=START_TIMEOUT_S))
        self._specs[engine.child.name] = engine.child
        if engine.child.name != "kafka":
            return engine
        files = {path: text + self.network.kafka_listeners() for path, text in engine.files.items()}
        return replace(engine, files=files)


def _kernel_state(pid: int) -> str:
    """The letter of /proc: R runs, S sleeps, T is stopped, Z is dead."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "Z"
    return stat.rpartition(")")[2].split()[0]
