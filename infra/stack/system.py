"""The gateways and workers as children of this process, on engines that run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from pydantic import SecretStr

from infra.settings import Settings
from infra.stack.addresses import Address, free_ports
from infra.stack.environment import child_environment
from infra.stack.local import LocalStack
from infra.stack.probes import http_probe
from infra.stack.process import ChildSpec
from infra.stack.progress import Steps, silent_steps
from infra.stack.secret import ensure_secret
from infra.stack.supervisor import Supervisor
from infra.together import together
from infra.tokens import mint_for
from schemas.errors import SettingsError

__all__ = ["LEDGER", "WORKERS", "System", "gateway_addresses"]

WORKERS: Final = (
    ("worker-1", ("moderation", "sequencing", "fanout")),
    ("worker-2", ("persistence", "receipts")),
)
"""Which stages share a process: those a sender waits for, and those that may fall behind under load."""
LEDGER: Final = "ledger"
"""The process that accounts for what the others do."""
STANDBYS: Final = ("gateway", "worker")
"""Commands whose processes somebody waits for when they die."""
DEMO: Final = {"demo": "on"}
START_TIMEOUT_S: Final = 60.0


def gateway_addresses(settings: Settings, prefix: str = "") -> Mapping[str, Address]:
    """The addresses of all gateways, by gateway id."""
    if settings.port + settings.gateways > 65_536:
        raise SettingsError(f"IM_PORT: {settings.gateways} gateways need as many ports from {settings.port}")
    return {
        f"{prefix}gw-{number}": Address(settings.host, settings.port + number - 1)
        for number in range(1, settings.gateways + 1)
    }


class System:
    """`async with System(stack) as system:` — a message can pass the whole path.

    Gateways and workers that end are started again. Leaving the block ends the gateways first, so that
    clients are sent away before what serves them is gone, then the workers.
    """

    def __init__(
        self,
        stack: LocalStack,
        steps: Steps | None = None,
        *,
        settings: Settings | None = None,
        prefix: str = "",
        adapt: Callable[[ChildSpec], ChildSpec] | None = None,
    ) -> None:
        """A second system on the same stack needs `settings` with other ports, and a `prefix` of its own.

        The prefix begins the name of every gateway and worker; both systems share all the work. `adapt` may
        change how a gateway or worker is run, before it is.
        """
        if stack.settings.tls_cert is not None:
            raise SettingsError(
                "IM_TLS_CERT: what is started here serves without TLS; `im gateway` speaks it"
            )
        self._secret = ensure_secret(stack.settings)
        self.settings = (settings or stack.settings).model_copy(
            update={"auth_secret": SecretStr(self._secret)}
        )
        self._prefix = prefix
        self._adapt = adapt or (lambda spec: spec)
        self._stack = stack
        self._steps = steps or silent_steps()
        self._exit = AsyncExitStack()
        self._worker_ports: Mapping[str, int] = {}

    @property
    def probes(self) -> Mapping[str, Address]:
        """Where each gateway and worker serves /readyz and /metrics, by name."""
        workers = {name: Address("127.0.0.1", port) for name, port in self._worker_ports.items()}
        return {**self.addresses, **workers}

    @property
    def addresses(self) -> Mapping[str, Address]:
        return gateway_addresses(self.settings, self._prefix)

    @property
    def pids(self) -> Mapping[str, int]:
        """The process id of everything that runs, by name."""
        return {name: pid for part in self._parts for name, pid in part.pids.items()}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as entered:
            self._workers = await entered.enter_async_context(Supervisor(self._steps.note))
            self._gateways = await entered.enter_async_context(Supervisor(self._steps.note))
            await together(
                *(self._start(self._workers, spec, what) for spec, what in self._worker_specs()),
                *(self._start(self._gateways, spec, what) for spec, what in self._gateway_specs()),
            )
            self._exit = entered.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    def token(self, user: str, role: str | None = None) -> str:
        """A token for this system that is good for a day."""
        return mint_for(self.settings, self._secret, user, now_s=int(time.time()), role=role)

    def kill(self, name: str) -> None:
        """End a gateway, worker or engine as a crash would; it is started again by itself."""
        self._part_of(name).kill(name)

    async def restart(self, name: str) -> None:
        """Stop a gateway, worker or engine in its own time, start it, return when it is ready."""
        await self._part_of(name).restart(name)

    async def wait_ready(self, name: str) -> None:
        """Return once it is ready (again)."""
        await self._part_of(name).wait_ready(name)

    async def wait_failed(self) -> None:
        """Wait until something keeps ending; raises `Unavailable` that names it."""
        await together(*(part.wait_failed() for part in self._parts))

    @property
    def _parts(self) -> tuple[Supervisor, ...]:
        return self._gateways, self._workers, self._stack.engines

    def _part_of(self, name: str) -> Supervisor:
        return next((part for part in self._parts if name in part), self._gateways)

    async def _start(self, part: Supervisor, spec: ChildSpec, what: str) -> None:
        with self._steps.step(spec.name, what):
            await part.start(self._adapt(spec))

    def _gateway_specs(self) -> list[tuple[ChildSpec, str]]:
        url = self.settings.public_url if len(self.addresses) == 1 else None  # one address is one gateway's
        specs = []
        for name, address in self.addresses.items():
            own = {"gateway_id": name, "port": address.port, "public_url": url, **DEMO}
            specs.append((self._spec(name, ("gateway",), address, own), str(address)))
        return specs

    def _worker_specs(self) -> list[tuple[ChildSpec, str]]:
        first = self.settings.worker_port
        commands = [(name, ("worker", *stages)) for name, stages in WORKERS]
        commands.append((LEDGER, (LEDGER, "run")))
        ports = range(first, first + len(commands)) if first else free_ports(len(commands))
        self._worker_ports = {
            self._prefix + name: port for (name, _), port in zip(commands, ports, strict=True)
        }
        return [
            (
                self._spec(
                    self._prefix + name,
                    command,
                    Address("127.0.0.1", port),
                    {"worker_id": self._prefix + name, "worker_port": port},
                    # Alive is enough: a stage that has stopped on purpose must not hold up the others.
                    probe="/livez",
                ),
                " ".join(command[1:]) if command[0] == "worker" else "accounts for every message",
            )
            for (name, command), port in zip(commands, ports, strict=True)
        ]

    def _spec(
        self,
        name: str,
        arguments: tuple[str, ...],
        address: Address,
        own: Mapping[str, object],
        probe: str = "/readyz",
    ) -> ChildSpec:
        return ChildSpec(
            name=name,
            argv=(sys.executable, "-m", "infra.cli", *arguments),
            log=self.settings.data_dir.absolute() / "log" / f"{name}.log",
            ready=http_probe(address, probe),
            env=child_environment(self.settings.model_copy(update=own), os.environ),
            start_timeout_s=START_TIMEOUT_S,
            standby=self.settings.warm_standby == "on" and arguments[0] in STANDBYS,
        )
