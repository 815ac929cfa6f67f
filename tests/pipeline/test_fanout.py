"""P4 and P5 through restarts: who picks a partition up addresses everybody as an undisturbed worker would."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.history import MemoryHistory
from infra.memory.routes import MemoryRouteTable
from infra.ports import Outgoing, Record, Route
from infra.settings import Settings
from pipeline.batch import Batch
from pipeline.fanout.agent import Fanout
from pipeline.persistence.rows import rows_of
from schemas.codec import MESSAGE, OUTBOUND
from schemas.records import Outbound
from tests.builders import a_message, framed

PEOPLE = ["alice", "bob", "cy", "dee"]
GROUP = "g:tea"


class Path:
    """im.messages with one group's life in it, and gateways that hold everybody."""

    def __init__(self, steps: Sequence[tuple[str, str]], threshold: int = 10) -> None:
        self.settings = Settings(partitions=1, fanout_threshold_members=threshold)
        self.clock = ManualClock()
        self.bus = MemoryBus(1, self.clock)
        self.history = MemoryHistory()
        self.routes = MemoryRouteTable(self.clock)
        contents = [("group", '{"action":"created","by":"alice","name":"Tea"}')]
        for action, user in steps:
            event = f'{{"action":"{action}","by":"alice","users":["{user}"]}}'
            contents.append(("text", '{"text":"hi"}') if action == "says" else ("member", event))
        self.values = [
            framed(a_message(seq, seq - 1, 1_000 + seq, kind=kind, content=content, conversation_id=GROUP))
            for seq, (kind, content) in enumerate(contents, 1)
        ]

    async def reconnect(self) -> None:
        await self.routes.take_lease("gw-2", "boot", 60.0)
        await self.routes.attach(
            [(user, Route("phone", "gw-2", "boot", f"s-{user}", "web", 0)) for user in PEOPLE]
        )

    async def open(self) -> None:
        await self.reconnect()
        await self.bus.publish([Outgoing("im.messages", 0, value, GROUP.encode()) for value in self.values])

    async def run(self, start: int, stop: int) -> None:
        """A new worker handles [start, stop)."""
        stage = Fanout(self.settings, self.bus, self.history, self.routes)
        await stage.assign(0, start)
        records: list[Record] = self.bus.records("im.messages")[start:stop]
        if records:
            batch = Batch("im.messages", 0, records, 0.0)
            await stage.load(batch)
            await stage.perform(stage.plan(batch))
            assert batch.buried == []

    async def store(self, count: int) -> None:
        await self.history.write(
            [row for value in self.values[:count] for row in rows_of(MESSAGE.decode(value))]
        )
        self.bus.commit("im.persistence", "im.messages", 0, count)

    async def reads(self) -> dict[str, int]:
        """Since which seq the group is read, by those whom the route table knows as readers."""
        attached = await self.routes.attach(
            [(u, Route("tv", "gw-2", "boot", f"t-{u}", "web", 0)) for u in PEOPLE]
        )
        found = zip(PEOPLE, attached, strict=True)
        return {user: answer.large[GROUP] for user, answer in found if GROUP in answer.large}

    def addressed(self) -> dict[int, set[str]]:
        """By source offset: whom the newest delivery named (repeats name the same people)."""
        outs: list[Outbound] = [OUTBOUND.decode(r.value) for r in self.bus.records("im.outbound.gw-2")]
        return {out.source_offset: set(out.users) for out in outs}


STEPS = st.lists(
    st.tuples(st.sampled_from(["says", "says", "joined", "left"]), st.sampled_from(PEOPLE)), max_size=12
)
RESTARTS = st.lists(st.tuples(st.integers(0, 13), st.integers(0, 13), st.integers(0, 13)), max_size=5)


@given(STEPS, RESTARTS)
def test_restarts_change_nobody_s_deliveries(
    steps: list[tuple[str, str]], restarts: list[tuple[int, int, int]]
) -> None:
    """Workers that start behind, stop anywhere and find any part stored name the same people."""

    async def story() -> tuple[dict[int, set[str]], dict[int, set[str]]]:
        calm, wild = Path(steps), Path(steps)
        await calm.open()
        await calm.run(0, len(calm.values))
        await wild.open()
        reached = 0
        for back, ahead, stored in restarts:
            await wild.store(min(stored, len(wild.values)))
            start = max(0, reached - back)
            await wild.run(start, start + ahead)
            reached = max(reached, min(start + ahead, len(wild.values)))
        await wild.run(reached, len(wild.values))
        return calm.addressed(), wild.addressed()

    calm, wild = asyncio.run(story())
    assert wild == calm


def test_a_repeat_after_a_restart_is_shown_to_nobody_new() -> None:
    """What a sequencing worker repeats late is known, though its first was before the start."""

    async def story() -> int:
        path = Path([("says", ""), ("joined", "bob")])
        await path.open()
        await path.run(0, 3)
        before = len(path.bus.records("im.outbound.gw-2"))
        await path.bus.publish([Outgoing("im.messages", 0, path.values[1], GROUP.encode())])
        await path.run(3, 4)
        return len(path.bus.records("im.outbound.gw-2")) - before

    assert asyncio.run(story()) == 0


def test_becoming_large_names_every_member_once() -> None:
    """The record that crosses the threshold tells the gateways who is inside; later ones name nobody."""

    async def story() -> dict[int, set[str]]:
        path = Path([("joined", "bob"), ("joined", "cy"), ("says", "")], threshold=2)
        await path.open()
        await path.run(0, 4)
        return path.addressed()

    addressed = asyncio.run(story())
    assert addressed == {0: {"alice"}, 1: {"alice", "bob"}, 2: {"alice", "bob", "cy"}, 3: set()}


def test_who_joins_later_in_a_batch_is_not_named_for_what_came_before() -> None:
    """Also when the gateways of a large conversation must be found anew, with all its members."""

    async def story() -> dict[int, set[str]]:
        steps = [("joined", "bob"), ("joined", "cy"), ("left", "bob"), ("says", ""), ("joined", "bob")]
        path = Path([*steps, ("says", "")], threshold=2)
        await path.open()
        await path.run(0, 4)
        path.routes.flush()
        await path.reconnect()
        await path.run(4, 7)
        return path.addressed()

    addressed = asyncio.run(story())
    assert addressed[4] == {"alice", "cy"}
    assert "bob" in addressed[5]


def test_the_route_table_learns_since_when_each_member_reads() -> None:
    """From the joining of the newest stay on: as events pass, and when Redis was emptied."""

    async def story() -> list[dict[str, int]]:
        steps = [("joined", "bob"), ("joined", "cy"), ("left", "bob"), ("says", ""), ("joined", "bob")]
        path = Path([*steps, ("says", "")], threshold=2)
        await path.open()
        await path.run(0, 3)
        found = [await path.reads()]
        await path.run(3, 7)
        found.append(await path.reads())
        for start in (4, 6):  # with the join in the batch, and long after it
            path.routes.flush()
            await path.reconnect()
            await path.run(start, 7)
            found.append(await path.reads())
        return found

    first, *others = asyncio.run(story())
    assert first == {"alice": 1, "bob": 2, "cy": 3}
    assert others == [{"alice": 1, "bob": 6, "cy": 3}] * 3


@given(st.integers(0, 8), st.integers(0, 8))
def test_a_repeated_part_changes_no_reader(start: int, stop: int) -> None:
    """Old joins let nobody in who left since, old leaves put nobody out who is back."""

    async def story() -> dict[str, int]:
        steps = [("joined", "bob"), ("joined", "cy"), ("left", "bob"), ("joined", "dee"), ("joined", "bob")]
        path = Path([*steps, ("left", "dee"), ("says", "")], threshold=2)
        await path.open()
        await path.run(0, 8)
        await path.run(min(start, stop), max(start, stop))
        return await path.reads()

    assert asyncio.run(story()) == {"alice": 1, "bob": 6, "cy": 3}


def test_poison_is_buried_and_the_next_message_goes_out() -> None:
    """Bytes that are no Message, or stand under no conversation, cost one dead letter each."""

    async def story() -> tuple[int, dict[int, set[str]]]:
        path = Path([("says", "")])
        await path.open()
        stage = Fanout(path.settings, path.bus, path.history, path.routes)
        await stage.assign(0, 0)
        good = path.bus.records("im.messages")
        bad = [
            Record("im.messages", 0, 9, 1, GROUP.encode(), b"junk"),
            Record("im.messages", 0, 9, 1, b"\xff", None),
        ]
        batch = Batch("im.messages", 0, [good[0], *bad, good[1]], 0.0)
        await stage.load(batch)
        await stage.perform(stage.plan(batch))
        return len(batch.buried), path.addressed()

    buried, addressed = asyncio.run(story())
    assert buried == 2
    assert addressed == {0: {"alice"}, 1: {"alice"}}
