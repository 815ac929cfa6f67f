"""pipeline/stage.py"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.history import MemoryHistory
from infra.ports import Record
from pipeline.batch import Batch, Chunk
from pipeline.dead_letter_limit import DeadLetterLimit
from pipeline.persistence.agent import Persistence
from pipeline.progress import Progress
from pipeline.stage import StageRunner
from pipeline.tenure import Tenure
from schemas.errors import Unavailable
from schemas.tables import Row
from tests.builders import a_message, a_record, framed

GROUP = "g:team"


class Line:
    """A stage with one partition, fed by hand."""

    def __init__(self, max_consecutive: int = 5) -> None:
        self.clock = ManualClock()
        self.bus = MemoryBus(1, self.clock)
        self.history = MemoryHistory()
        limit = DeadLetterLimit(1.0, 60.0, 1_000, max_consecutive)
        self.tenure = Tenure(self.clock, 6.0)
        stage = Persistence(self.history)
        self.runner = StageRunner(stage, self.bus, self.clock, Progress(), limit, self.tenure)
        self.handled = 0

    async def feed(self, chunks: Sequence[Sequence[Record]]) -> None:
        """Return once the runner took all, or stopped."""
        await self.give([Chunk(0, records[0].offset, records) for records in chunks])

    async def give(self, chunks: Sequence[Chunk]) -> None:
        async def source() -> AsyncIterator[Chunk]:
            for chunk in chunks:
                yield chunk
                self.handled += 1

        task = asyncio.create_task(self.runner.run_partition(source()))
        while not task.done() and not self.runner.stopped:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @property
    def letters(self) -> list[Record]:
        return self.bus.records("im.dlq")

    async def seqs(self) -> list[int]:
        return [row.seq for row in await self.history.page(GROUP, after_seq=0, limit=100)]


class Noted(Persistence):
    """Writes down when its state is made, and when it is forgotten."""

    def __init__(self, history: MemoryHistory) -> None:
        super().__init__(history)
        self.notes: list[str] = []

    async def assign(self, partition: int, position: int) -> None:
        self.notes.append(f"made at {position}")
        await super().assign(partition, position)

    def revoke(self, partition: int) -> None:
        self.notes.append("forgotten")
        super().revoke(partition)


def said(seq: int) -> Record:
    return a_record(framed(a_message(seq, source_offset=seq, conversation_id=GROUP)), offset=seq)


async def source(*records: Record) -> AsyncIterator[Chunk]:
    yield Chunk(0, records[0].offset, records)


def junk(offset: int) -> Record:
    return a_record(b"junk", offset)


async def test_a_poison_record_costs_one_dead_letter() -> None:
    """With its bytes as they were and its reason in the headers; the records around it are stored."""
    line = Line()
    await line.feed([[said(1), junk(2)], [said(3)]])
    assert await line.seqs() == [1, 3]
    (letter,) = line.letters
    headers = dict(letter.headers)
    assert letter.value == b"junk"
    assert headers["__streams.errors.offset"] == b"2"
    assert headers["__streams.errors.topic"] == b"im.messages"
    assert headers["im-stage"] == b"persistence"
    assert headers["im-failed-at"] == str(line.clock.now_ms()).encode()


async def test_a_stage_that_understands_nothing_stops_where_it_is() -> None:
    """Nothing of the batch that trips the limit takes effect: no dead letter, no row, no offset."""
    line = Line(max_consecutive=5)
    await line.feed([[said(1)], [junk(2), junk(3)], [said(4), *map(junk, range(5, 12))], [said(12)]])
    assert "7 records in a row" in line.runner.stopped
    assert "expected schema id" in line.runner.stopped
    assert len(line.letters) == 2
    assert await line.seqs() == [1]
    assert line.handled == 2


async def test_a_stopped_stage_handles_no_other_partition_either() -> None:
    """Until the process is started anew."""
    line = Line(max_consecutive=1)
    await line.feed([[junk(1), junk(2)]])
    assert line.runner.stopped
    await line.feed([[said(1)]])
    assert await line.seqs() == []


@pytest.mark.parametrize("count", [1, 5])
async def test_what_the_limit_bears_goes_on(count: int) -> None:
    """The limit is the most that is borne, not the first that is not."""
    line = Line(max_consecutive=5)
    await line.feed([[*map(junk, range(count)), said(9)]])
    assert not line.runner.stopped
    assert len(line.letters) == count


async def test_what_somebody_else_handled_makes_the_state_anew() -> None:
    """A worker that slept past its session may find its partition further on; records that come again are
    no such sign."""
    line = Line()
    stage = line.runner.stage = Noted(line.history)
    await line.feed([[said(1), said(2)], [said(3)], [said(2), said(3)], [said(4)], [said(7)], [said(8)]])
    assert stage.notes == ["made at 1", "forgotten", "made at 7", "forgotten"]


@pytest.mark.parametrize(
    ("chunks", "notes"),
    [
        pytest.param([(3, [])], ["made at 3"], id="before anything is there"),
        pytest.param([(3, []), (3, [3])], ["made at 3"], id="once"),
        pytest.param([(3, []), (5, [5])], ["made at 3", "forgotten", "made at 5"], id="elsewhere"),
        pytest.param([(3, [3, 4]), (4, []), (4, [4, 5])], ["made at 3"], id="again"),
        pytest.param([(3, [3]), (7, [])], ["made at 3", "forgotten", "made at 7"], id="further on"),
    ],
)
async def test_a_partition_that_comes_makes_its_state(
    chunks: list[tuple[int, list[int]]], notes: list[str]
) -> None:
    """It does not wait for a record; and a partition that has come again is where it was, or further on."""
    line = Line()
    stage = line.runner.stage = Noted(line.history)
    await line.give([Chunk(0, start, [said(offset) for offset in offsets]) for start, offsets in chunks])
    assert stage.notes == [*notes, "forgotten"]


async def test_a_worker_that_is_back_makes_its_state_anew() -> None:
    """Also if its partition is where it was: whoever had it may have handled what comes again."""
    line = Line()
    stage = line.runner.stage = Noted(line.history)

    async def chunks() -> AsyncIterator[Chunk]:
        for generation, seq in ((1, 1), (2, 2), (4, 3), (5, 2)):
            line.tenure.join(generation)
            yield Chunk(0, seq, [said(seq)])

    await line.runner.run_partition(chunks())
    assert stage.notes == ["made at 1", "forgotten", "made at 3", "forgotten"]


class Swallowing(Noted):
    """Is cancelled while one of its questions fails: a gather then raises what the question raised."""

    async def load(self, batch: Batch) -> None:  # noqa: ARG002 - whatever is asked
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Unavailable("the store is away") from None


async def test_a_partition_that_goes_while_an_engine_is_away_goes() -> None:
    """Its records are somebody else's from then on."""
    line = Line()
    stage = line.runner.stage = Swallowing(line.history)
    task = asyncio.create_task(line.runner.run_partition(source(said(1))))
    while not line.runner.progress._busy:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert stage.notes == ["made at 1", "forgotten"]


class Slow(Noted):
    """Takes its time to store, until it is allowed to."""

    def __init__(self, history: MemoryHistory) -> None:
        super().__init__(history)
        self.allowed = asyncio.Event()

    async def perform(self, effects: list[Row]) -> None:
        await self.allowed.wait()
        await super().perform(effects)


async def test_a_partition_that_comes_back_waits_for_what_was_begun_in_it() -> None:
    """Its state is made after the old one was forgotten, so that it is not forgotten with it."""
    line = Line()
    slow = Slow(line.history)
    line.runner.stage = slow

    first = asyncio.create_task(line.runner.run_partition(source(said(1))))
    while not line.runner.progress._busy:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.create_task(line.runner.run_partition(source(said(1))))
    for _ in range(10):
        await asyncio.sleep(0)
    slow.allowed.set()
    await asyncio.gather(first, second, return_exceptions=True)
    assert slow.notes == ["made at 1", "forgotten", "made at 1", "forgotten"]
    assert await line.seqs() == [1]
