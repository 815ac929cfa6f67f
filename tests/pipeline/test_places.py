"""im.places says what the log says, or nothing."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.ports import Outgoing
from pipeline.dedupe import Key
from pipeline.places import MAX_ENTRIES, PlacesWriter, entries_of, read_places
from pipeline.sequencing.place import Place

SECOND_MS = 1_000
Entry = tuple[Key, Place]


def entry(number: int) -> Entry:
    return (f"g:{number % 3}", f"u{number % 2}", f"c{number}"), Place(
        number + 1, number, f"m{number}", number
    )


class Log:
    """im.accepted with one record a second, and the writer of its places."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bus = MemoryBus(1, self.clock)
        self.writer = PlacesWriter(0, 0)
        self.start_ms = self.clock.now_ms()

    async def accept(self, number: int) -> None:
        await self.bus.publish([Outgoing("im.accepted", 0, b"x")])
        self.clock.advance(1.0)
        self.writer.add(*entry(number), number)

    async def write(self) -> None:
        await self.bus.publish(self.writer.take(self.clock.now_ms()))

    async def read(self, since_ms: int) -> list[Entry] | None:
        runs = await read_places(self.bus, 0, since_ms)
        return [found for run in runs for found in entries_of(run)] if runs else None


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 30))
def test_what_is_read_reaches_back_far_enough(writes: list[bool], since: int) -> None:
    """From any time on: every entry since then that was written, in order."""

    async def run() -> None:
        log, written = Log(), 0
        for number, write in enumerate(writes):
            await log.accept(number)
            if write:
                await log.write()
                written = number + 1
        found = await log.read(log.start_ms + since * SECOND_MS)
        if found is not None:
            numbers = [place.seq - 1 for _, place in found]
            assert found == [entry(number) for number in numbers]
            assert numbers == list(range(numbers[0] if numbers else 0, written))
            assert not numbers or numbers[0] <= since

    asyncio.run(run())


async def test_a_missing_run_is_not_passed_over() -> None:
    """What lies before a gap is not used; if the rest does not reach back far enough, nothing is."""
    log = Log()
    for number in range(4):
        await log.accept(number)
        if number != 2:
            await log.write()
        else:
            log.writer.take(log.clock.now_ms())
    assert await log.read(log.start_ms) is None
    assert await log.read(log.start_ms + 3 * SECOND_MS) == [entry(3)]


async def test_runs_that_overlap_are_read_once() -> None:
    """A worker that was replaced may have written the same again."""
    log = Log()
    other = PlacesWriter(0, 0)
    for number in range(3):
        await log.accept(number)
        other.add(*entry(number), number)
        await log.write()
    await log.bus.publish(other.take(log.clock.now_ms()))
    assert await log.read(log.start_ms) == [entry(number) for number in range(3)]


async def test_much_at_once_becomes_several_records() -> None:
    """No record grows beyond what the log takes, and no entry is lost between two."""
    log = Log()
    count = 2 * MAX_ENTRIES + 10
    for number in range(count):
        log.writer.add(*entry(number), number)
    await log.write()
    assert len(log.bus.records("im.places")) == 3
    assert await log.read(0) == [entry(number) for number in range(count)]


@pytest.mark.parametrize("garbage", [None, b"", b"\x00\x00\x00\x00\x09\xff"])
async def test_garbage_in_the_topic_is_a_gap_at_worst(garbage: bytes | None) -> None:
    """A record that is no Places says nothing."""
    log = Log()
    await log.accept(0)
    await log.bus.publish([Outgoing("im.places", 0, garbage)])
    await log.write()
    assert await log.read(log.start_ms) == [entry(0)]
