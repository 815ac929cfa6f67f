"""The way of a process to the engines: the memory twins behind latency and faults.

A call takes a drawn time to arrive, has its effect at one moment, and is answered. Between any two
of these the caller may be killed or stopped. What was on its way when its sender died arrives all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from infra.memory.bus import MemoryBus
from infra.memory.history import MemoryHistory
from infra.memory.routes import MemoryRouteTable
from infra.ports import Bus, HistoryStore, Outgoing, Record, RouteTable, Subscription
from schemas.errors import OutcomeUnknown, Unavailable
from schemas.tables import MessageRow, Row
from tests.sim.faults import SeamFault
from tests.sim.loop import Process

if TYPE_CHECKING:
    from tests.sim.world import World

__all__ = ["BusDoor", "SimLog", "at_once", "history_door", "routes_door"]

T = TypeVar("T")
Place = tuple[str, int]

_LOG_S: Final = (0.001, 0.012)
_TABLE_S: Final = (0.0003, 0.004)
_STORE_S: Final = (0.001, 0.015)
_SLOW: Final = 100
_LATE_S: Final = (0.5, 3.0)
_AWAY_S: Final = 0.3
"""After this long a door gives up on an engine that is away."""


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing, as the memory twins' do."""
    try:
        work.send(None)
    except StopIteration as stop:
        return cast(T, stop.value)
    raise RuntimeError("a memory twin waited")


class SimLog(MemoryBus):
    """The log itself. `watchers` are called when a topic grew; `away` while no broker answers."""

    def __init__(self, world: World, partitions: int) -> None:
        super().__init__(partitions, world.clock)
        self.watchers: dict[str, list[Callable[[], None]]] = {}

    def append(self, records: Sequence[Outgoing]) -> None:
        at_once(self.publish(records))
        for topic in dict.fromkeys(record.topic for record in records):
            for grown in self.watchers.get(topic, ()):
                grown()

    def end(self, topic: str, partition: int) -> int:
        return self._log(topic, partition).end

    def committed_now(self, group: str, topic: str) -> dict[int, int]:
        return self._committed.get((group, topic), {})


class _Door:
    """Latency and faults of one process's calls on one engine."""

    def __init__(self, world: World, process: Process, engine: str, latency_s: tuple[float, float]) -> None:
        self._world = world
        self._process = process
        self._engine = engine
        self._shortest_s, longest_s = latency_s
        self._spread_s = longest_s - self._shortest_s
        self._draw = world.rng.random

    async def call(self, seam: str, effect: Callable[[], T], torn: Callable[[], object] | None = None) -> T:
        """Have an effect. `torn`: the part of it that happens when it is cut short."""
        fault = self._world.plan.at_seam(seam)
        if fault is None:
            answer: asyncio.Future[T] = asyncio.Future(loop=self._world.loop)
            loop = self._world.loop
            at = loop.now + self._shortest_s + self._spread_s * self._draw()
            loop.call_at(at, self._done, answer, effect, context=self._world.context)
            return await answer
        return await self._call_with(fault, seam, effect, torn or effect)

    async def _call_with(
        self, fault: SeamFault, seam: str, effect: Callable[[], T], torn: Callable[[], object]
    ) -> T:
        world, process = self._world, self._process
        world.happened(f"{fault} at {seam}", process.name)
        delay_s = self._shortest_s + self._spread_s * self._draw()
        answer: asyncio.Future[T] = asyncio.Future(loop=world.loop)
        later = world.later
        match fault:
            case "kill before":
                world.kill(process)
                await world.forever()
            case "kill after":
                later(delay_s, torn)
                later(delay_s, world.kill, process)
            case "pause":
                world.pause(process)
                await asyncio.sleep(0)
                later(delay_s, self._done, answer, effect)
            case "slow":
                later(_SLOW * delay_s, self._done, answer, effect)
            case "refused":
                await asyncio.sleep(delay_s)
                raise Unavailable(f"{seam} is refused")
            case "unknown lost":
                await asyncio.sleep(delay_s)
                raise OutcomeUnknown(f"{seam} was lost")
            case "unknown done":
                later(delay_s, torn)
                await asyncio.sleep(2 * delay_s)
                raise OutcomeUnknown(f"{seam} was done")
            case "late":
                first, last = _LATE_S
                later(first + (last - first) * self._draw(), effect)
                await asyncio.sleep(delay_s)
                raise OutcomeUnknown(f"{seam} comes late")
            case "twice":
                later(delay_s, effect)
                later(2 * delay_s, self._done, answer, effect)
        return await answer

    def _done(self, answer: asyncio.Future[T], effect: Callable[[], T]) -> None:
        if self._engine in self._world.away:
            self._world.later(_AWAY_S, self._fail, answer)
            return
        result = effect()
        if not answer.done():
            answer.set_result(result)

    def _fail(self, answer: asyncio.Future[T]) -> None:
        if not answer.done():
            answer.set_exception(Unavailable(f"the {self._engine} is away"))


class BusDoor(_Door):
    """`ports.Bus`. Records of one partition stay in the order of the calls; partitions go their own ways."""

    def __init__(self, world: World, process: Process) -> None:
        super().__init__(world, process, "log", _LOG_S)
        self._log = world.log
        self._lanes: dict[Place, asyncio.Lock] = {}

    def partition_for(self, key: str) -> int:
        return self._log.partition_for(key)

    async def publish(self, records: Sequence[Outgoing]) -> None:
        parcels: dict[Place, list[Outgoing]] = {}
        for record in records:
            parcels.setdefault((record.topic, record.partition), []).append(record)
        if len(parcels) == 1:
            await self._send(*parcels.popitem())
        elif parcels:
            # As in the real door: each parcel goes its own way, and the first that fails is the outcome.
            await asyncio.gather(*(self._send(place, parcel) for place, parcel in parcels.items()))

    async def _send(self, place: Place, parcel: list[Outgoing]) -> None:
        topic = place[0]
        seam = "publish im.outbound" if topic.startswith("im.outbound.") else f"publish {topic}"
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = asyncio.Lock()

        def write() -> None:
            self._log.append(parcel)

        def write_some() -> None:
            self._log.append(parcel[: 1 + int(len(parcel) * self._draw())])

        async with lane:
            await self.call(seam, write, write_some)

    async def read_range(
        self,
        topic: str,
        partition: int,
        start: int,
        end: int | None,
        take: Callable[[Sequence[Record]], None],
    ) -> int:
        records: list[Record] = []
        after = await self.call(
            "read log", lambda: at_once(self._log.read_range(topic, partition, start, end, records.extend))
        )
        if records:
            take(records)
        return after

    async def offsets_at(self, topic: str, partition: int, time_ms: int) -> int:
        return await self.call("read log", lambda: at_once(self._log.offsets_at(topic, partition, time_ms)))

    async def ends(self, topic: str) -> dict[int, int]:
        return await self.call("read log", lambda: at_once(self._log.ends(topic)))

    async def beginnings(self, topic: str) -> dict[int, int]:
        return await self.call("read log", lambda: at_once(self._log.beginnings(topic)))

    @asynccontextmanager
    async def scan(
        self, topic: str, partition: int, start: int, end: int
    ) -> AsyncIterator[AsyncIterator[Sequence[Record]]]:
        yield self._runs(topic, partition, start, end)

    async def _runs(
        self, topic: str, partition: int, start: int, end: int
    ) -> AsyncIterator[Sequence[Record]]:
        runs: list[Sequence[Record]] = []
        await self.read_range(topic, partition, start, end, runs.append)
        for run in runs:
            yield run

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        return await self.call("read log", lambda: at_once(self._log.committed(group, topic)))

    async def subscribe_end(self, topic: str) -> Subscription:
        start = (await self.ends(topic))[0]
        return _Reader(self, self._world, topic, start)


class _Reader:
    """`ports.Subscription` over a topic of one partition."""

    def __init__(self, door: BusDoor, world: World, topic: str, position: int) -> None:
        self._door = door
        self._world = world
        self._log = world.log
        self._topic = topic
        self._position = position
        self._grown: asyncio.Future[None] | None = None
        world.log.watchers.setdefault(topic, []).append(self._wake)

    async def next_records(self, timeout_s: float) -> Sequence[Record]:
        if not self._log.records(self._topic, 0, self._position):
            self._grown = self._world.loop.create_future()
            timer = self._world.loop.call_later(timeout_s, self._wake)
            await self._grown
            timer.cancel()
            if not self._log.records(self._topic, 0, self._position):
                return []
        records = await self._door.call("read log", lambda: self._log.records(self._topic, 0, self._position))
        self._position += len(records)
        return records

    async def caught_up(self) -> bool:
        return (await self._door.ends(self._topic))[0] <= self._position

    async def close(self) -> None:
        watchers = self._log.watchers[self._topic]
        if self._wake in watchers:
            watchers.remove(self._wake)

    def _wake(self) -> None:
        if self._grown is not None and not self._grown.done():
            self._grown.set_result(None)


class _Port(_Door):
    """A port whose calls all go the same way: through the door to the twin behind it."""

    def __init__(
        self, world: World, process: Process, engine: str, latency_s: tuple[float, float], twin: object
    ) -> None:
        super().__init__(world, process, engine, latency_s)
        self._twin = twin

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Every method of the twin, made when it is first asked for."""
        method = getattr(self._twin, name)
        seam = _SEAM_OF.get(name, "table" if self._engine == "table" else "store read")

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self.call(seam, lambda: at_once(method(*args, **kwargs)))

        self.__dict__[name] = call
        return call


_SEAM_OF: Final = {"move_cursors": "store write", "mute": "store write"}


class _StorePort(_Port):
    async def write(self, rows: Sequence[Row]) -> None:
        """Rows of messages come last, side by side: cut short, any of them may be missing."""
        twin = cast(MemoryHistory, self._twin)
        first = [row for row in rows if not isinstance(row, MessageRow)]
        messages = [row for row in rows if isinstance(row, MessageRow)]

        def some() -> None:
            at_once(twin.write([*first, *(row for row in messages if self._draw() < 0.5)]))

        await self.call("store write", lambda: at_once(twin.write([*first, *messages])), some)


def routes_door(world: World, process: Process, twin: MemoryRouteTable) -> RouteTable:
    return cast(RouteTable, _Port(world, process, "table", _TABLE_S, twin))


def history_door(world: World, process: Process, twin: MemoryHistory) -> HistoryStore:
    return cast(HistoryStore, _StorePort(world, process, "store", _STORE_S, twin))


_: type[Bus] = BusDoor
