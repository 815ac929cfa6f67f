"""One run: start, disturb while people talk, let everything settle, write down what is there."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from infra.settings import Settings
from infra.stack.progress import Steps, silent_steps
from pipeline.moderation.policy import publish_policy
from schemas.errors import SettingsError
from schemas.records import Policy, Rule
from tests.faults.arena import Arena, chaos_settings
from tests.faults.conductor import Conductor, Strike
from tests.faults.dump_tables import dump_tables
from tests.faults.dump_topics import dump_topics
from tests.faults.folder import Folder
from tests.faults.history import Phase, Run
from tests.faults.leaks import find_leaks
from tests.faults.nemesis.catalogue import chosen, make_fault, missing
from tests.faults.offsets import OffsetLog
from tests.faults.replaying import replay_twice
from tests.faults.schedule import CALM_S, turns
from tests.faults.workload.crowds import Crowds
from tests.faults.workload.traffic import FORBIDDEN
from tests.faults.yardstick import Yardstick

__all__ = ["Order", "Outcome", "Watcher", "carry_out"]

WARM_UP_S: Final = 5.0
CALM_END_S: Final = 5.0
CAUGHT_UP_S: Final = 240.0
RULES: Final = Policy(1, [Rule("chaos-1", "test", "reject", [FORBIDDEN])])


@dataclass(frozen=True, slots=True)
class Order:
    """What to do. `faults` empty: every kind that this machine can inject."""

    minutes: float
    seed: int
    rate: float
    """Deeds a second of all users together."""
    folder: Path
    faults: tuple[str, ...] = ()
    crowds: int = 1
    """Processes of 24 users each, who have nothing to do with each other."""
    calm_s: float = CALM_S
    """The most time without a fault between two of them."""


@dataclass(slots=True)
class Outcome:
    """What was done; what came of it the checker says."""

    folder: Path
    strikes: list[Strike]
    deeds: Counter[str]
    left_out: dict[str, str] = field(default_factory=dict)
    unanswered: int = 0
    unsettled: list[str] = field(default_factory=list)
    caught_up: bool = False


class Watcher(Protocol):
    """Whoever wants to know how a run goes."""

    def phase(self, name: str) -> None: ...

    def fault(self, text: str) -> None: ...


async def carry_out(order: Order, base: Settings, watcher: Watcher, steps: Steps | None = None) -> Outcome:
    """Make the run and leave its history in `order.folder`. Raises `Unavailable` if a part keeps failing."""
    settings = chaos_settings(base, order.folder / "data")
    folder = Folder(order.folder)
    async with AsyncExitStack() as stack:
        watcher.phase("starting engines, gateways, workers")
        log = settings.data_dir.absolute() / "log" / "yardstick.log"
        await stack.enter_async_context(Yardstick(folder, log))
        arena = await stack.enter_async_context(Arena(settings, steps or silent_steps()))
        await publish_policy(arena.bus, RULES)
        run = _Run(order, arena, folder, watcher)
        return await run.through()


class _Run:
    """The phases of a run, in their order."""

    def __init__(self, order: Order, arena: Arena, folder: Folder, watcher: Watcher) -> None:
        self._order = order
        self._arena = arena
        self._folder = folder
        self._watcher = watcher
        self._nemesis = folder.nemesis()
        kinds, not_here = chosen(order.faults), missing(arena)
        self._left_out = {kind: not_here[kind] for kind in kinds if kind in not_here}
        self._kinds = [kind for kind in kinds if kind not in not_here]
        if not self._kinds:
            raise SettingsError(f"none of these faults can be injected here: {self._left_out}")

    async def through(self) -> Outcome:
        started_t, started_ms = time.monotonic(), time.time_ns() // 1_000_000
        self._write_run(started_t, started_t, started_ms)
        with self._folder.offsets() as offset_lines, self._nemesis:
            offsets = OffsetLog(self._arena.bus, offset_lines)
            sampling = asyncio.create_task(offsets.run())
            try:
                self._phase("warmup")
                async with self._crowds() as crowds:
                    outcome = await self._load(crowds)
                    await self._settle(crowds, offsets, outcome)
            finally:
                sampling.cancel()
                await asyncio.gather(sampling, return_exceptions=True)
            await offsets.sample()
        self._write_run(started_t, time.monotonic(), started_ms)
        await self._dump()
        return outcome

    def _crowds(self) -> Crowds:
        arena, order = self._arena, self._order
        return Crowds(arena.url, arena.token, order.seed, order.crowds, order.folder, arena.settings.data_dir)

    async def _load(self, crowds: Crowds) -> Outcome:
        conductor = Conductor(partial(make_fault, self._arena), self._nemesis, self._watcher.fault)
        begin = time.monotonic() + WARM_UP_S
        until = begin + 60 * self._order.minutes
        talking = asyncio.create_task(crowds.run(self._order.rate, until + CALM_END_S))
        giving_up = asyncio.create_task(self._arena.wait_failed())
        striking = asyncio.create_task(self._strike(conductor, begin, until))
        try:
            await _all_or_first_error(talking, striking, giving_up)
        finally:
            for task in (striking, talking, giving_up):
                task.cancel()
            await asyncio.gather(striking, talking, giving_up, return_exceptions=True)
        return Outcome(self._order.folder, conductor.strikes, crowds.counts, self._left_out)

    async def _strike(self, conductor: Conductor, begin: float, until: float) -> None:
        await asyncio.sleep(begin - time.monotonic())
        self._phase("load")
        await conductor.run(turns(self._kinds, self._order.seed, self._order.calm_s), until)

    async def _settle(self, crowds: Crowds, offsets: OffsetLog, outcome: Outcome) -> None:
        self._phase("settle")
        outcome.unanswered = await crowds.quiet()
        outcome.caught_up = await offsets.caught_up(CAUGHT_UP_S)
        outcome.unsettled = await crowds.settle()
        outcome.caught_up = await offsets.caught_up(CAUGHT_UP_S) and outcome.caught_up

    async def _dump(self) -> None:
        self._watcher.phase("dump")
        await dump_topics(self._arena.bus, self._folder, list(self._arena.gateways))
        await dump_tables(self._arena.settings, self._folder)
        self._folder.dump("leaks", find_leaks(self._arena.settings.data_dir / "log"))
        self._watcher.phase("replay")
        await replay_twice(self._arena.settings, self._folder)

    def _phase(self, name: str) -> None:
        self._watcher.phase(name)
        self._nemesis.write(Phase(t=time.monotonic(), name=name))

    def _write_run(self, started_t: float, ended_t: float, started_ms: int) -> None:
        settings = self._arena.settings
        self._folder.write_run(
            Run(
                run=f"chaos-{self._order.seed}",
                started_t=started_t,
                ended_t=ended_t,
                started_unix_ms=started_ms,
                seed=self._order.seed,
                partitions=settings.partitions,
                settings={
                    "minutes": str(self._order.minutes),
                    "rate": str(self._order.rate),
                    "crowds": str(self._order.crowds),
                    "faults": ",".join(self._kinds),
                    "fanout_threshold_members": str(settings.fanout_threshold_members),
                    "dedupe_window_s": str(settings.dedupe_window_s),
                    "session_timeout_s": str(settings.session_timeout_s),
                },
                commit=_commit(),
            )
        )


async def _all_or_first_error(*tasks: asyncio.Task[None]) -> None:
    """Return when the first two have ended; raise as soon as any fails."""
    work = set(tasks[:2])
    while work:
        done, _ = await asyncio.wait({*work, tasks[2]}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        work -= done


def _commit() -> str:
    """The commit that is run, if this is a checkout."""
    command: Sequence[str] = ("git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout.strip()
