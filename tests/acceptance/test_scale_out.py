"""Two gateways, and workers that come and go: nobody notices where the others are, or who does the work."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.client.events import StateChanged
from gateway.client.ticket import Ticket
from infra.cassandra import CassandraHistory
from infra.kafka import KafkaBus
from infra.ports import Record
from infra.settings import Settings
from infra.stack.addresses import Address, free_ports, is_free
from infra.stack.environment import child_environment
from infra.stack.local import LocalStack
from infra.stack.probes import http_probe
from infra.stack.process import ChildProcess, ChildSpec
from infra.stack.system import WORKERS, System
from pipeline.source_order import SourceOrder
from pipeline.topology import STAGES
from schemas.codec import MESSAGE
from schemas.codes import CloseCode
from schemas.tables import HistoryRow
from tests.acceptance.patience import eventually, until
from tests.acceptance.people import Person
from tests.acceptance.test_end_to_end import direct, fresh, on_bus
from tests.conftest import Background, in_background

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

PREFIX = "scale-"
LEAST = 50
PACE_S = 0.1
PATIENCE_S = 120.0
"""For processes that start, stop and start again while people talk."""
BUSY = [stage.name for stage in STAGES if stage.name != "receipts"]
NEWEST = 10_000


class Edge(NamedTuple):
    """What a `Person` needs of a system: one gateway, and tokens."""

    url: str
    system: System

    def token(self, user: str) -> str:
        return self.system.token(user)


class Pair:
    """A system with two gateways, for tests: `one` and `two`, and ways to disturb it."""

    def __init__(self, background: Background, system: System) -> None:
        self._background = background
        self._system = system
        self.settings = system.settings
        self.gateways = list(system.addresses)
        self.one, self.two = (Edge(f"http://{address}", system) for address in system.addresses.values())

    async def restart(self, *names: str) -> None:
        """Put new processes in the place of some, all at once; return when ready."""
        stops = (asyncio.to_thread(self._background.call, self._system.restart(name)) for name in names)
        await asyncio.gather(*stops)

    async def end(self, *names: str) -> None:
        """End some by SIGTERM, as an operator's system does; return when they are back."""
        before = {name: self._system.pids[name] for name in names}
        for pid in before.values():
            os.kill(pid, signal.SIGTERM)
        await eventually(lambda: all(self._system.pids.get(name, pid) != pid for name, pid in before.items()))
        for name in names:
            await asyncio.to_thread(self._background.call, self._system.wait_ready(name))


@pytest.fixture(scope="module")
def pair(background: Background, stack: LocalStack) -> Iterator[Pair]:
    ports = {"gateways": 2, "port": two_free_ports(stack.settings.host)}
    system = System(stack, settings=stack.settings.model_copy(update=ports), prefix=PREFIX)
    for running in in_background(background, system):
        yield Pair(background, running)


def two_free_ports(host: str) -> int:
    """The first of two free ports in a row."""
    return next(port for port in free_ports(50) if port < 65_535 and is_free(Address(host, port + 1)))


class Talk:
    """A direct conversation between two gateways, in which both speak, and what must hold of it."""

    def __init__(self, one: Person, two: Person) -> None:
        self.id = direct(one.user_id, two.user_id)
        self._people = one, two
        self._tickets: list[tuple[str, Ticket]] = []

    @property
    def length(self) -> int:
        return len(self._tickets)

    async def go_on(self) -> None:
        """One more message, from the one who did not speak last."""
        speaker = self._people[self.length % 2]
        text = f"{speaker.user_id} {self.length}"
        self._tickets.append((text, await speaker.client.send(self.id, text)))

    async def end(self) -> None:
        """Every send has a place, each speaker's in the order spoken; both saw all of it, once, in order."""
        texts: dict[int, str] = {}
        places: dict[str, list[int]] = {person.user_id: [] for person in self._people}
        for text, ticket in self._tickets:
            seq = (await asyncio.wait_for(ticket.sent(), PATIENCE_S)).seq
            texts[seq] = text
            places[text.split()[0]].append(seq)
        assert all(seqs == sorted(seqs) for seqs in places.values())
        assert sorted(texts) == list(range(1, self.length + 1))
        for person in self._people:
            await eventually(lambda p=person: len(p.seqs(self.id)) >= self.length, PATIENCE_S)  # type: ignore[misc]
            assert person.seqs(self.id) == sorted(texts)
            assert person.texts(self.id) == [texts[seq] for seq in sorted(texts)]


@asynccontextmanager
async def talks(pair: Pair, count: int) -> AsyncIterator[list[Talk]]:
    """That many pairs of people, each with one on either gateway, who have heard of each other.

    A device that returns to a conversation it never saw would begin with the newest messages only.
    """
    async with AsyncExitStack() as here:

        async def arrive(edge: Edge, name: str) -> Person:
            return await here.enter_async_context(Person(edge, fresh(name)))

        all_talks = [Talk(await arrive(pair.one, "ann"), await arrive(pair.two, "bob")) for _ in range(count)]
        for talk in all_talks:
            await talk.go_on()
            await talk.end()
        yield all_talks


async def talk_while(all_talks: list[Talk], disturbance: Coroutine[Any, Any, None], least: int) -> None:
    """Everybody talks until the disturbance is over, and until each talk is `least` messages long."""
    async with asyncio.timeout(PATIENCE_S):
        disturbed = asyncio.create_task(disturbance)
        while not disturbed.done() or all_talks[0].length < least:
            for talk in all_talks:
                await talk.go_on()
            await asyncio.sleep(PACE_S)
        await disturbed


class ExtraWorker:
    """One more `im worker` with all stages."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._address = Address("127.0.0.1", free_ports(1)[0])
        own = {"worker_id": name, "worker_port": self._address.port}
        self.process = ChildProcess(
            ChildSpec(
                name=name,
                argv=(sys.executable, "-m", "infra.cli", "worker"),
                log=settings.data_dir.absolute() / "log" / f"{name}.log",
                ready=http_probe(self._address),
                env=child_environment(settings.model_copy(update=own), os.environ),
            )
        )

    async def start(self) -> None:
        await self.process.start()
        await self.process.wait_ready()

    async def handled(self) -> Mapping[str, int]:
        """How many records it has handled so far, by stage."""
        return await self._counted("im_stage_messages_total", result="done")

    async def taken_over(self) -> Mapping[str, int]:
        """How many times a partition came to it, by stage."""
        return await self._counted("im_stage_assigned_total")

    async def kill(self) -> None:
        self.process.signal(signal.SIGKILL)
        await self.process.wait()

    async def _counted(self, name: str, **labels: str) -> Mapping[str, int]:
        async with aiohttp.ClientSession() as http, http.get(f"http://{self._address}/metrics") as answer:
            families = text_string_to_metric_families(await answer.text())
            samples = [sample for family in families for sample in family.samples]
        return {
            s.labels["stage"]: int(s.value)
            for s in samples
            if s.name == name and labels.items() <= s.labels.items()
        }


async def handled_by(workers: Sequence[ExtraWorker]) -> Counter[str]:
    """The same, of all of them."""
    total = Counter[str]()
    for counts in await asyncio.gather(*(worker.handled() for worker in workers)):
        total.update(counts)
    return total


async def logged_seqs(settings: Settings) -> Mapping[str, list[int]]:
    """The seqs of every conversation as the log says them to a reader who drops repeats."""
    order, seqs = SourceOrder(), dict[str, list[int]]()

    def take(records: Any) -> None:
        record: Record
        for record in records:
            message = MESSAGE.decode(record.value)
            if not order.is_repeat(record.partition, message.source_offset):
                seqs.setdefault(message.conversation_id, []).append(message.seq)

    async def read(bus: KafkaBus) -> None:
        for partition in await bus.ends("im.messages"):
            await bus.read_range("im.messages", partition, 0, None, take)

    await on_bus(settings, read)
    return seqs


async def stored_seqs(settings: Settings, conversation_id: str, count: int) -> list[int]:
    """The seqs in Cassandra, oldest first, once there are that many."""
    history = CassandraHistory(settings)
    await history.startup()
    try:
        rows: list[HistoryRow] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(rows) < count:
                rows = await history.page(conversation_id, limit=NEWEST)
                await asyncio.sleep(PACE_S)
        return [row.seq for row in reversed(rows)]
    finally:
        await history.shutdown()


async def test_people_on_two_gateways_chat(pair: Pair) -> None:
    """Directly: what both say at once both see, once and in the same order."""
    async with talks(pair, 1) as [talk]:
        for _ in range(LEAST):
            await talk.go_on()
        await talk.end()


async def test_a_group_spans_gateways(pair: Pair) -> None:
    """Four people, two on each gateway, all talking at once: one order for all."""
    async with AsyncExitStack() as here:
        edges = (pair.one, pair.two, pair.one, pair.two)
        people = [await here.enter_async_context(Person(edge, fresh("member"))) for edge in edges]
        group = await people[0].client.create_group("Tea", [person.user_id for person in people[1:]])
        await everybody_says(people, group, 10)


async def test_a_large_group_spans_gateways(pair: Pair) -> None:
    """Above the threshold too, where each gateway reads the group by itself."""
    silent = [fresh("silent") for _ in range(pair.settings.fanout_threshold_members + 1)]
    async with AsyncExitStack() as here:
        edges = (pair.one, pair.two, pair.one, pair.two)
        people = [await here.enter_async_context(Person(edge, fresh("member"))) for edge in edges]
        members = [person.user_id for person in people[1:]]
        group = await people[0].client.create_group("Crowd", members + silent)
        await everybody_says(people, group, 10)


async def everybody_says(people: list[Person], group: str, times: int) -> None:
    """All talk at once; each sees each message once, in the one order, after the group's creation."""
    said: dict[int, str] = {}

    async def speak(person: Person) -> None:
        for n in range(times):
            text = f"{person.user_id} {n}"
            said[await person.say(group, text)] = text

    await asyncio.gather(*(speak(person) for person in people))
    seqs = list(range(2, len(people) * times + 2))
    assert sorted(said) == seqs
    for person in people:
        await eventually(lambda p=person: len(p.texts(group)) >= len(seqs))  # type: ignore[misc]
        assert person.seqs(group) == [1, *seqs]
        assert person.texts(group) == [said[seq] for seq in seqs]


async def test_devices_on_two_gateways_see_the_same(pair: Pair) -> None:
    """What a user says on one device the other shows, once, in the same place."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with (
        Person(pair.one, ann, "phone") as phone,
        Person(pair.two, ann, "laptop") as laptop,
        Person(pair.two, bob) as b,
    ):
        said = ["phone 1", "laptop 2", "bob 3", "phone 4"]
        for text, speaker in zip(said, (phone, laptop, b, phone), strict=True):
            await speaker.say(talk, text)
        for person in (phone, laptop, b):
            await person.hears(talk, said[-1])
            assert person.texts(talk) == said


async def test_a_device_has_one_connection_on_all_gateways(pair: Pair) -> None:
    """It comes to the other gateway: the first connection ends for good, the second one works."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with Person(pair.one, ann) as before, Person(pair.one, bob) as b:
        await before.say(talk, "here")
        async with Person(pair.two, ann) as after:
            await eventually(lambda: _is_replaced(before.events[-1]))
            assert before.client.state == "closed"
            await b.say(talk, "where are you?")
            await after.hears(talk, "where are you?")
            await after.say(talk, "there")
            await b.hears(talk, "there")
            assert after.client.state == "connected"


def _is_replaced(event: object) -> bool:
    return isinstance(event, StateChanged) and (event.state, event.code) == ("closed", CloseCode.REPLACED)


async def test_workers_come_and_go(pair: Pair) -> None:
    """Two join, the old ones leave and come back, one leaves, one dies: nothing lost or out of order."""
    extra = [ExtraWorker(pair.settings, f"{PREFIX}extra-{number}") for number in (1, 2)]

    async def come_and_go() -> None:
        await asyncio.gather(*(worker.start() for worker in extra))
        await pair.end(*(PREFIX + name for name, _ in WORKERS))
        # Of more members than partitions the group chooses who gets none, in each stage by itself.
        await until(lambda: handled_by(extra), lambda done: any(done[stage] for stage in BUSY))
        await asyncio.gather(extra[0].process.stop(), extra[1].kill())

    try:
        async with talks(pair, 6) as all_talks:
            await talk_while(all_talks, come_and_go(), LEAST)
            await asyncio.gather(*(talk.end() for talk in all_talks))
    finally:
        await asyncio.gather(*(worker.process.stop() for worker in extra))

    logged = await logged_seqs(pair.settings)
    for talk in all_talks:
        expected = list(range(1, talk.length + 1))
        assert logged[talk.id] == expected
        assert await stored_seqs(pair.settings, talk.id, talk.length) == expected


async def test_a_partition_is_made_ready_before_anything_comes(pair: Pair) -> None:
    """Who takes over while nobody talks has its state when somebody does, in every stage.

    Of more members than partitions the group chooses who gets none, each time anew, in each stage by itself.
    """
    other = ExtraWorker(pair.settings, f"{PREFIX}ready")
    try:
        await other.start()
        async with asyncio.timeout(PATIENCE_S):
            made = await other.taken_over()
            while not all(made.get(stage.name) for stage in STAGES):
                await pair.end(*(PREFIX + name for name, _ in WORKERS))
                made = await other.taken_over()
    finally:
        await other.process.stop()


async def test_who_is_restarted_keeps_its_partitions(pair: Pair) -> None:
    """Its successor has them at once. Another worker, whether it has any or waits for some, gets none."""
    other = ExtraWorker(pair.settings, f"{PREFIX}other")
    try:
        async with talks(pair, 6) as all_talks:
            await talk_while(all_talks, other.start(), LEAST)
            before: Mapping[str, int] | None = None
            while (now := await other.taken_over()) != before:  # as long as the groups make room for it
                before = now
                await talk_while(all_talks, asyncio.sleep(0), all_talks[0].length + LEAST)
            for name, _ in WORKERS:
                await talk_while(all_talks, pair.restart(PREFIX + name), LEAST)
            assert await other.taken_over() == before
            await asyncio.gather(*(talk.end() for talk in all_talks))
    finally:
        await other.process.stop()


async def test_a_drained_gateway_loses_nothing(pair: Pair) -> None:
    """Its people come back by themselves; no send fails, each message arrives once and in order."""
    async with talks(pair, 3) as all_talks:
        await talk_while(all_talks, pair.restart(pair.gateways[0]), LEAST)
        await asyncio.gather(*(talk.end() for talk in all_talks))
