"""One seed from beginning to end: all of Skein on one loop, what goes wrong in it, and what came of it."""

from __future__ import annotations

import contextvars
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from random import Random
from traceback import format_exception
from typing import Any, Final
from uuid import UUID

from pydantic import SecretStr

import schemas.ids
from infra.memory.history import MemoryHistory
from infra.memory.limits import MemorySharedLimits
from infra.memory.routes import MemoryRouteTable
from infra.ports import Outgoing
from infra.settings import Settings
from pipeline.topology import STAGES, group_of
from schemas.codec import POLICY
from schemas.records import Policy, Rule
from schemas.topics import POLICY as POLICY_TOPIC
from tests.sim.clients import Device
from tests.sim.doors import SimLog
from tests.sim.faults import Event, FaultPlan
from tests.sim.gateways import SECRET, Gateway
from tests.sim.groups import Groups, Worker
from tests.sim.invariants import find_unfinished, find_violations
from tests.sim.loop import EPOCH_MS, Process, SimClock, SimLoop
from tests.sim.scenario import FORBIDDEN, Scenario

__all__ = ["Outcome", "World", "play"]

_GATEWAYS: Final = ("gw-1", "gw-2")
_WORKERS: Final = ("worker-1", "worker-2")
_SETTLE_S: Final = 120.0
"""How long everything may take to end after the last fault."""
_LOOK_S: Final = 1.5
_AWAY_S: Final = 6.0
_POLICY: Final = Policy(1, [Rule("words", "words", "reject", [FORBIDDEN])])


@dataclass(slots=True)
class Outcome:
    """What a seed came to."""

    seed: int
    violations: list[str]
    happened: Counter[str]
    simulated_s: float
    calls: int
    messages: int
    trace: list[str] = field(default_factory=list)


def play(seed: int, trace: bool = False, commits_early: bool = False, only: Collection[str] = ()) -> Outcome:
    """Run a seed, with `only` these faults if there are any. The same seed gives the same outcome, and the
    same trace, in any process."""
    with _seeded_names(seed):
        return World(seed, trace, commits_early, only).run()


class World:
    """Engines, processes, people, and the hand that breaks them."""

    def __init__(self, seed: int, trace: bool, commits_early: bool, only: Collection[str]) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.loop = SimLoop()
        self.clock = SimClock(self.loop)
        self.context = contextvars.Context()
        """Nobody's: engines, wires and supervisors outlive every process."""
        self.plan = FaultPlan(self.rng, only)
        self.settings = _settings()
        self.away: set[str] = set()
        self.commits_early = commits_early
        self.log = SimLog(self, self.settings.partitions)
        self.table = MemoryRouteTable(self.clock)
        self.store = MemoryHistory()
        self.limits = MemorySharedLimits(self.clock)
        self.groups = Groups(self)
        self.workers: dict[str, Worker] = {}
        self.gateways: dict[str, Gateway] = {}
        self.devices: list[Device] = []
        self.failures: list[str] = []
        self._trace: list[str] | None = [] if trace else None

    def run(self) -> Outcome:
        """People act while things break; then everything heals, ends, and is looked at."""
        self.log.append([Outgoing(POLICY_TOPIC, 0, POLICY.encode(_POLICY), b"policy")])
        for name in _GATEWAYS:
            self._start_gateway(name)
        for name in _WORKERS:
            self._start_worker(name)
        scenario = Scenario(self)
        self.devices = scenario.begin()
        for _ in range(self.plan.events_count):
            at_s = 0.5 + scenario.lasts_s * self.rng.random()
            self.later(at_s, self._break, self.rng.choice(self.plan.events))
        self.loop.run_until(scenario.lasts_s + 1.0)
        self._heal()
        deadline = self.loop.now + _SETTLE_S
        while self.loop.now < deadline and not self.failures and find_unfinished(self):
            self.loop.run_until(self.loop.now + _LOOK_S)
        violations = [*self.failures, *find_unfinished(self), *find_violations(self)]
        self.loop.close()
        return Outcome(
            self.seed,
            violations,
            self.plan.happened,
            self.loop.now,
            self.loop.calls,
            sum(self.log.end("im.messages", p) for p in range(self.settings.partitions)),
            self._trace or [],
        )

    # What everybody needs

    def later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> None:
        """Call something outside of every process."""
        self.loop.call_at(self.loop.now + delay_s, callback, *args, context=self.context)

    async def forever(self) -> None:
        """Never comes back."""
        await self.loop.create_future()

    def happened(self, what: str, whom: str = "") -> None:
        """Count a fault, and tell of it."""
        self.plan.count(what)
        self.tell(f"FAULT {what} {whom}")

    def tell(self, line: str) -> None:
        if self._trace is not None:
            self._trace.append(f"{self.loop.now:10.4f} {line}")

    @property
    def traced(self) -> bool:
        return self._trace is not None

    def fail(self, what: str, error: BaseException | None) -> None:
        """Something that must never happen has happened."""
        lines = "".join(format_exception(error)) if error is not None else ""
        self.failures.append(f"{what}\n{lines}".rstrip())

    def settings_of(self, gateway_id: str) -> Settings:
        return _gateway_settings(gateway_id)

    def some_gateway(self) -> Gateway | None:
        """Where a balancer sends a client: any gateway that is up."""
        up = [g for g in self.gateways.values() if g.ready and g.process.alive]
        return self.rng.choice(up) if up else None

    def caught_up(self) -> bool:
        """Whether every stage has committed everything there is."""
        return all(
            self.log.committed_now(group_of(spec.name), spec.reads).get(p, 0) == self.log.end(spec.reads, p)
            for spec in STAGES
            for p in range(self.settings.partitions)
        )

    # Lives and deaths

    def _start_gateway(self, name: str) -> None:
        self.gateways[name] = Gateway(self, name)

    def _start_worker(self, name: str) -> None:
        self.workers[name] = Worker(self, name)

    def kill(self, process: Process) -> None:
        """As `kill -9` does; whoever supervises it starts it again."""
        if not process.alive or self.loop.is_closed():
            return
        process.kill()
        self.tell(f"dies {process.name}")
        if (worker := self._worker(process)) is not None:
            self.later(self._session_left_s(worker), self.groups.lost, worker)
            self.later(0.3 + 9.0 * self.rng.random() ** 2, self._start_worker, worker.name)
        elif (gateway := self._gateway(process)) is not None:
            for socket in gateway.sockets:
                socket.server_died()
            self.later(0.3 + 3.0 * self.rng.random(), self._start_gateway, gateway.gateway_id)

    def pause(self, process: Process) -> None:
        """As SIGSTOP does, and after a while SIGCONT."""
        if process.paused or not process.alive:
            return
        process.pause()
        self.tell(f"stops {process.name}")
        lasts_s = 0.2 + 11.0 * self.rng.random()
        worker = self._worker(process)
        if worker is not None:
            self.later(self._session_left_s(worker), self._evict, worker)
        self.later(lasts_s, self._go_on, process)

    def _session_left_s(self, worker: Worker) -> float:
        """How long the coordinator goes on counting this worker in, if it hears nothing more."""
        return max(0.0, worker.heard_at + self.settings.session_timeout_s - self.loop.now)

    def _evict(self, worker: Worker) -> None:
        if worker.process.paused and self._session_left_s(worker) < 0.001:
            self.groups.lost(worker)

    def _go_on(self, process: Process) -> None:
        if not process.paused:
            return
        self.tell(f"goes on {process.name}")
        process.go_on()
        worker = self._worker(process)
        if worker is not None and worker.ready and self.groups.members.get(worker.name) is not worker:
            self.plan.count("zombie")
            self.later(0.05 + self.rng.random(), self._return, worker)

    def _return(self, worker: Worker) -> None:
        if worker.process.alive and self.workers.get(worker.name) is worker:
            worker.process.spawn(worker.return_late())

    def _leave(self, worker: Worker) -> None:
        """SIGTERM: it gives up what it has, then it is gone, and another one is started."""
        self.groups.leave(worker)
        self.later(5.0, self._left, worker)

    def _left(self, worker: Worker) -> None:
        if worker.process.alive:
            worker.process.kill()
            self.later(2.0 * self.rng.random(), self._start_worker, worker.name)

    def _worker(self, process: Process) -> Worker | None:
        worker = self.workers.get(process.name)
        return worker if worker is not None and worker.process is process else None

    def _gateway(self, process: Process) -> Gateway | None:
        gateway = self.gateways.get(process.name)
        return gateway if gateway is not None and gateway.process is process else None

    # What breaks

    def _break(self, event: Event) -> None:
        whom = self._BREAKS[event](self)
        if whom:
            self.happened(event, whom)

    def _a_worker(self) -> Worker | None:
        up = [w for w in self.workers.values() if w.process.alive and not w.process.paused and w.ready]
        return self.rng.choice(up) if up else None

    def _kill_worker(self) -> str:
        if (worker := self._a_worker()) is None:
            return ""
        self.kill(worker.process)
        return worker.name

    def _pause_worker(self) -> str:
        if (worker := self._a_worker()) is None:
            return ""
        self.pause(worker.process)
        return worker.name

    def _leave_worker(self) -> str:
        if (worker := self._a_worker()) is None:
            return ""
        self._leave(worker)
        return worker.name

    def _kill_gateway(self) -> str:
        if (gateway := self.some_gateway()) is None:
            return ""
        self.kill(gateway.process)
        return gateway.gateway_id

    def _pause_gateway(self) -> str:
        if (gateway := self.some_gateway()) is None:
            return ""
        self.pause(gateway.process)
        return gateway.gateway_id

    def _flush_table(self) -> str:
        self.table.flush()
        return "table"

    def _away(self, engine: str) -> str:
        if engine in self.away:
            return ""
        self.away.add(engine)
        self.later(_AWAY_S * self.rng.random(), self.away.discard, engine)
        return engine

    def _a_device(self) -> Device | None:
        connected = [d for d in self.devices if d.socket is not None and d.process.alive]
        return self.rng.choice(connected) if connected else None

    def _cut_link(self) -> str:
        device = self._a_device()
        if device is None or device.socket is None:
            return ""
        device.socket.cut(now_server=self.rng.random() < 0.7)
        return device.device_id

    def _half_open_link(self) -> str:
        device = self._a_device()
        if device is None or device.socket is None:
            return ""
        device.socket.half_open()
        return device.device_id

    def _kill_client(self) -> str:
        if (device := self._a_device()) is None:
            return ""
        device.kill()
        return device.device_id

    def _quit_client(self) -> str:
        if (device := self._a_device()) is None:
            return ""
        device.quit()
        return device.device_id

    _BREAKS: Final[dict[Event, Callable[[World], str]]] = {
        "kill worker": _kill_worker,
        "pause worker": _pause_worker,
        "leave worker": _leave_worker,
        "kill gateway": _kill_gateway,
        "pause gateway": _pause_gateway,
        "flush table": _flush_table,
        "log away": lambda world: world._away("log"),
        "table away": lambda world: world._away("table"),
        "store away": lambda world: world._away("store"),
        "cut link": _cut_link,
        "half-open link": _half_open_link,
        "kill client": _kill_client,
        "quit client": _quit_client,
    }

    def _heal(self) -> None:
        """Nothing breaks any more; what is broken is on its way back already."""
        self.tell("healed")
        self.plan.heal()


@cache
def _settings() -> Settings:
    return Settings(auth_secret=SecretStr(SECRET), partitions=2, limits="off")


@cache
def _gateway_settings(gateway_id: str) -> Settings:
    return _settings().model_copy(update={"gateway_id": gateway_id})


class _Names:
    """Ids as `uuid_utils` makes them, out of a seed."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)

    def uuid7(self) -> UUID:
        bits = EPOCH_MS << 80 | 0x7 << 76 | self._rng.getrandbits(12) << 64 | 0x2 << 62
        return UUID(int=bits | self._rng.getrandbits(62))


@contextmanager
def _seeded_names(seed: int) -> Iterator[None]:
    """Ids of messages, sessions and boots are drawn, not random."""
    ids: Any = schemas.ids
    real, ids.uuid_utils = ids.uuid_utils, _Names(seed)
    try:
        yield
    finally:
        ids.uuid_utils = real
