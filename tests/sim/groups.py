"""Consumer groups and the workers in them: who owns which partition, and what they have committed.

As with static members of Kafka: a worker that is back within its session timeout finds its partitions
as they were, from the last commit on; one that stays away, or is stopped for that long, loses them to
the others, and goes on working on what it holds until it hears of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

from pipeline.batch import Chunk, Stage
from pipeline.dead_letter_limit import DeadLetterLimit
from pipeline.progress import Progress
from pipeline.report import report_progress
from pipeline.stage import StageRunner
from pipeline.tenure import Tenure
from pipeline.topology import STAGES, Doors, StageSpec, group_of
from schemas.errors import Fenced, Unavailable
from tests.sim.doors import BusDoor, history_door, routes_door
from tests.sim.loop import Process

if TYPE_CHECKING:
    from tests.sim.world import World

__all__ = ["Groups", "Worker"]

_SPECS: Final = {spec.name: spec for spec in STAGES}
_WAITING_CHUNKS: Final = 2
_MOST_RECORDS: Final = 8
_COMMIT_S: Final = 0.5
_REPORT_S: Final = 2.0
_REVOKE_S: Final = 10.0
_BEAT_S: Final = 0.01
Place = tuple[str, int]
"""(stage, partition)"""


class Consumed:
    """The chunks of one partition: fetched ahead, acknowledged when the stage asks for more."""

    def __init__(self, worker: Worker, spec: StageSpec, partition: int, position: int, epoch: int) -> None:
        self.spec = spec
        self.partition = partition
        self.epoch = epoch
        self.acked = position
        self.committed = position
        self.task: asyncio.Task[None] | None = None
        self._worker = worker
        self._log = worker.world.log
        self._position = position
        self._handed = position
        self._chunks = deque([Chunk(partition, position, ())])
        self._waits: asyncio.Future[None] | None = None
        self._fetching = False
        self.flows = True
        self._log.watchers.setdefault(spec.reads, []).append(self.fetch)

    def __aiter__(self) -> Consumed:
        return self

    async def __anext__(self) -> Chunk:
        self._acknowledge(self._handed)
        while not self._chunks:
            self._waits = self._worker.world.loop.create_future()
            self.fetch()
            await self._waits
        chunk = self._chunks.popleft()
        self._handed = chunk.end
        if self._worker.world.commits_early:
            self._acknowledge(self._handed)
        self.fetch()
        return chunk

    def fetch(self) -> None:
        """Have more on the way, if there is more and room for it."""
        if not self.flows or self._fetching or len(self._chunks) >= _WAITING_CHUNKS:
            return
        if not self._worker.process.alive:
            return
        if self._log.end(self.spec.reads, self.partition) > self._position:
            self._fetching = True
            self._worker.process.after(0.001 + 0.01 * self._worker.world.rng.random(), self._fetched)

    def hold(self) -> None:
        """What has been fetched is forgotten, nothing more is; what is being handled goes on."""
        self.flows = False
        self._chunks.clear()

    def seek(self, position: int, epoch: int) -> None:
        """The same partition anew. Whoever handles its chunks is not told."""
        self.flows = True
        self.epoch = epoch
        self.acked = self.committed = self._position = position
        self._deliver(Chunk(self.partition, position, ()))
        self.fetch()

    def close(self) -> None:
        watchers = self._log.watchers[self.spec.reads]
        if self.fetch in watchers:
            watchers.remove(self.fetch)

    def _fetched(self) -> None:
        self._fetching = False
        world = self._worker.world
        if "log" in world.away:
            self._fetching = True
            self._worker.process.after(0.3, self._fetched)
            return
        if not self.flows:
            return
        most = 1 + int(world.rng.random() * _MOST_RECORDS)
        records = self._log.records(self.spec.reads, self.partition, self._position)[:most]
        if records:
            chunk = Chunk(self.partition, records[0].offset, records)
            self._position = chunk.end
            self._deliver(chunk)
        self.fetch()

    def _deliver(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)
        if self._waits is not None and not self._waits.done():
            self._waits.set_result(None)

    def _acknowledge(self, offset: int) -> None:
        if offset > self.acked:
            self.acked = offset
            self._worker.commit_soon()


class _Runner(StageRunner):
    """The real loop, whose process ends in the simulation."""

    def __init__(self, worker: Worker, stage: Stage[Any], progress: Progress) -> None:
        limit = DeadLetterLimit.of(worker.world.settings)
        super().__init__(stage, worker.bus, worker.world.clock, progress, limit, worker.tenure)
        self._worker = worker

    def _die(self, error: BaseException) -> NoReturn:
        world = self._worker.world
        if world.loop.is_closed():
            raise error
        if isinstance(error, Fenced):
            world.plan.count("fenced")
        else:
            world.fail(f"{self._worker.name} {self.stage.name} failed: {error!r}", error)
        world.kill(self._worker.process)
        raise error


class Worker:
    """One life of a worker process: all stages, and what it owns of each."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.process = Process(world.loop, name, world.tell)
        self.bus = BusDoor(world, self.process)
        self.routes = routes_door(world, self.process, world.table)
        self.owned: dict[Place, Consumed] = {}
        self.ready = False
        self.tenure: Tenure = Tenure(world.clock, world.settings.session_timeout_s)
        """One for all its stages, as all its memberships are one here."""
        self.heard_at = 0.0
        """When the coordinator last heard of it."""
        self._runners: dict[str, _Runner] = {}
        self._commit_waits = False
        self._committing = asyncio.Lock()
        self._returning = False
        self.process.spawn(self._startup())

    async def _startup(self) -> None:
        history = history_door(self.world, self.process, self.world.store)
        doors = Doors(self.world.settings, self.world.clock, self.bus, self.routes, history)
        for spec in STAGES:
            stage = spec.build(doors)
            while True:
                try:
                    await stage.startup()
                    break
                except Unavailable:
                    await asyncio.sleep(0.5)
            self._runners[spec.name] = _Runner(self, stage, Progress())
        self.ready = True
        self.world.groups.joined(self)
        self._beat()
        while True:
            await asyncio.sleep(_REPORT_S * (0.5 + self.world.rng.random()))
            for runner in self._runners.values():
                try:
                    await self._report(runner)
                except Unavailable:
                    continue

    def _beat(self) -> None:
        """Ask the coordinator whether it knows this worker, now and every so often."""
        asked_at = self.world.loop.now
        self.world.later(_BEAT_S * self.world.rng.random(), self.world.groups.heard, self, asked_at)
        self.process.after(self.world.settings.session_timeout_s / 6, self._beat)

    async def take(self, stage: str, partition: int, position: int, epoch: int) -> None:
        """Own a partition from this position on."""
        if self.world.groups.epoch_of((stage, partition)) != epoch:
            return  # it was given away again meanwhile
        held = self.owned.get((stage, partition))
        if held is not None:
            held.seek(position, epoch)
            return
        consumed = Consumed(self, _SPECS[stage], partition, position, epoch)
        self.owned[stage, partition] = consumed
        consumed.task = self.process.spawn(self._runners[stage].run_partition(consumed))
        consumed.fetch()

    async def return_late(self) -> None:
        """It was stopped for so long that the others went on without it: join again.

        As with Faust, what it is still handling ends only where it does not get the partition again.
        """
        if self._returning:
            return
        self._returning = True
        for consumed in self.owned.values():
            consumed.hold()
        self.world.groups.joined(self)
        for place in list(self.owned):
            if self.world.groups.owners[place].worker != self.name:
                await self.give(place)
        self._returning = False

    async def give(self, place: Place) -> None:
        """Give a partition up: end what is under way, commit, forget."""
        consumed = self.owned.pop(place, None)
        if consumed is None or consumed.task is None:
            return
        consumed.close()
        consumed.task.cancel()
        await asyncio.wait([consumed.task], timeout=_REVOKE_S)
        await self._commit(consumed)

    def commit_soon(self) -> None:
        if not self._commit_waits:
            self._commit_waits = True
            self.process.after(_COMMIT_S * (0.2 + 0.8 * self.world.rng.random()), self._start_commit)

    def _start_commit(self) -> None:
        self.process.spawn(self._commit_all())

    async def _commit_all(self) -> None:
        self._commit_waits = False
        for place, consumed in list(self.owned.items()):
            if not await self._commit(consumed) and self.owned.get(place) is consumed:
                self.world.plan.count("zombie hears of it")
                await self.give(place)

    async def _commit(self, consumed: Consumed) -> bool:
        """One after the other. False: somebody else owns the partition."""
        async with self._committing:
            return await self._commit_alone(consumed)

    async def _commit_alone(self, consumed: Consumed) -> bool:
        if consumed.acked <= consumed.committed:
            return True
        offset, place = consumed.acked, (consumed.spec.name, consumed.partition)

        def commit() -> bool:
            if self.world.groups.epoch_of(place) != consumed.epoch:
                return False
            group = group_of(consumed.spec.name)
            self.world.log.commit(group, consumed.spec.reads, consumed.partition, offset)
            return True

        try:
            if await self.bus.call("commit", commit):
                consumed.committed = offset
                return True
        except Unavailable:
            self.commit_soon()
            return True
        return False

    async def _report(self, runner: _Runner) -> None:
        name = runner.stage.name
        owned = {partition for stage, partition in self.owned if stage == name}
        if owned:
            clock = self.world.clock
            await report_progress(_SPECS[name], runner.progress, owned, self.bus, self.routes, clock)


@dataclass(slots=True)
class _Owner:
    """`worker` has the partition, or gets it as soon as nobody is `giving` it any more."""

    worker: str = ""
    epoch: int = 0
    giving: bool = False


@dataclass(slots=True)
class Groups:
    """The coordinator of all groups."""

    world: World
    owners: dict[Place, _Owner] = field(default_factory=dict)
    members: dict[str, Worker] = field(default_factory=dict)
    """By name: who is in, dead or alive, until the session timeout."""
    generation: int = 0
    """Of whoever joined last: a member since then, and not before."""

    def epoch_of(self, place: Place) -> int:
        return self.owners[place].epoch

    def joined(self, worker: Worker) -> None:
        """A new life of a worker is ready, or it comes back to its groups."""
        self.world.tell(f"joins {worker.name}")
        self.members[worker.name] = worker
        self.generation += 2
        worker.tenure.join(self.generation)
        self._prove(worker, self.world.loop.now)
        for place, owner in self.owners.items():
            if owner.worker == worker.name and not owner.giving:
                self._hand(place, worker)
        self.rebalance()

    def heard(self, worker: Worker, asked_at: float) -> None:
        """A heartbeat arrived: answered, if it is a member's."""
        if self.members.get(worker.name) is worker:
            self._prove(worker, asked_at)

    def _prove(self, worker: Worker, asked_at: float) -> None:
        worker.heard_at = self.world.loop.now
        worker.process.after(_BEAT_S * self.world.rng.random(), worker.tenure.prove, asked_at)

    def lost(self, worker: Worker) -> None:
        """Nothing was heard of this life for the session timeout."""
        if self.members.get(worker.name) is worker:
            del self.members[worker.name]
            self.world.plan.count("evicted")
            self.rebalance()

    def leave(self, worker: Worker) -> None:
        """A worker goes on purpose: it ends what it does first."""
        if self.members.get(worker.name) is worker:
            del self.members[worker.name]
            self.rebalance()

    def rebalance(self) -> None:
        """Spread all partitions over the members; each moves on its own."""
        names = sorted(self.members)
        if not names:
            return
        for stage in _SPECS:
            for partition in range(self.world.settings.partitions):
                owner = self.owners.setdefault((stage, partition), _Owner())
                wanted = names[(partition + int(self.world.rng.random() * len(names))) % len(names)]
                if owner.worker in self.members and self.world.rng.random() < 0.5:
                    continue
                if owner.worker != wanted:
                    self._move((stage, partition), owner, wanted)

    def _move(self, place: Place, owner: _Owner, wanted: str) -> None:
        old = self.world.workers.get(owner.worker)
        owner.worker = wanted
        if owner.giving:
            return
        if old is None or not old.process.alive or place not in old.owned:
            self._given(place)
            return
        owner.giving = True  # a stopped one does it when it goes on: nobody is put out before his session
        old.process.spawn(old.give(place)).add_done_callback(
            lambda _: self._given(place), context=self.world.context
        )
        # One that dies over it holds nobody up for longer than its session.
        self.world.later(self.world.settings.session_timeout_s, self._given, place)

    def _given(self, place: Place) -> None:
        owner = self.owners[place]
        owner.giving = False
        worker = self.members.get(owner.worker)
        if worker is not None:
            self._hand(place, worker)

    def _hand(self, place: Place, worker: Worker) -> None:
        owner, (stage, partition) = self.owners[place], place
        if not worker.process.alive or worker is not self.members.get(worker.name):
            return
        held = worker.owned.get(place)
        if held is not None and held.flows and held.epoch == owner.epoch:
            return  # it has it already
        owner.epoch += 1
        spec = _SPECS[stage]
        position = self.world.log.committed_now(group_of(stage), spec.reads).get(partition, 0)
        self.world.tell(f"{place} is {worker.name}'s from {position} on")
        worker.process.spawn(worker.take(stage, partition, position, owner.epoch))
