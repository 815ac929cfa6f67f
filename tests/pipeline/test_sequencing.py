"""P2 and P3: one order without holes, each send once, through any restarts, repeats and zombies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.history import MemoryHistory
from infra.ports import Outgoing, Record
from infra.settings import Settings
from pipeline import places
from pipeline.batch import Batch
from pipeline.persistence.rows import rows_of
from pipeline.sequencing.agent import Sequencing
from schemas.codec import MESSAGE, OUTBOUND
from schemas.frames import JSON, Rejected, Sent
from schemas.records import Message
from tests.builders import an_accepted_record, an_inbound

SETTINGS = Settings(partitions=1)


@pytest.fixture(autouse=True)
def _short_tails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tails are so short that im.places is needed for what lies before them."""
    monkeypatch.setattr(places, "TAIL_RECORDS", 1)
    monkeypatch.setattr(places, "STEP_BACK_RECORDS", 12)


class Log:
    """im.accepted and im.messages of one partition, and workers that come and go over them."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bus = MemoryBus(1, self.clock)
        self.history = MemoryHistory()

    def accept(self, text: str, client_msg_id: str, conversation_id: str = "d:alice:bob") -> None:
        offset = len(self.bus.records("im.accepted"))
        inbound = an_inbound(text, client_msg_id=client_msg_id, conversation_id=conversation_id)
        record = an_accepted_record(inbound, offset)
        asyncio.run(self.bus.publish([Outgoing("im.accepted", 0, record.value, record.key)]))
        self.clock.advance(0.4)

    def accepted(self, start: int = 0) -> list[Record]:
        return self.bus.records("im.accepted", 0, start)

    async def worker(self, position: int) -> Sequencing:
        stage = Sequencing(SETTINGS, self.bus, self.history, self.clock)
        await stage.assign(0, position)
        return stage

    async def run(self, stage: Sequencing, records: Sequence[Record]) -> None:
        if records:
            batch = Batch("im.accepted", 0, records, 0.0)
            await stage.load(batch)
            await stage.perform(stage.plan(batch))

    async def store(self, count: int) -> None:
        """Persistence has written the first records and committed behind them."""
        rows = [
            row
            for record in self.bus.records("im.messages")[:count]
            for row in rows_of(MESSAGE.decode(record.value))
        ]
        await self.history.write(rows)
        self.bus.commit("im.persistence", "im.messages", 0, count)

    def messages(self) -> list[Message]:
        """What a reader sees: repeats dropped by source offset."""
        seen, kept = -1, []
        for record in self.bus.records("im.messages"):
            message = MESSAGE.decode(record.value)
            if message.source_offset > seen:
                seen = message.source_offset
                kept.append(message)
        return kept


def test_seqs_are_contiguous_from_one_in_each_conversation() -> None:
    """Two conversations of one partition count on their own."""
    log = Log()
    for number in range(6):
        log.accept("hi", f"m{number}", "d:alice:bob" if number % 2 else "g:tea")
    asyncio.run(_run_all(log))
    by_conversation: dict[str, list[int]] = {}
    for message in log.messages():
        by_conversation.setdefault(message.conversation_id, []).append(message.seq)
    assert by_conversation == {"d:alice:bob": [1, 2, 3], "g:tea": [1, 2, 3]}


def test_a_repeated_send_is_answered_with_its_first_place() -> None:
    """The same (sender, client_msg_id) makes no second message; its sender gets `sent` with the first seq."""
    log = Log()
    log.accept("hi", "m1")
    log.accept("hi", "m1")
    asyncio.run(_run_all(log))
    assert [m.seq for m in log.messages()] == [1]
    (answer,) = (OUTBOUND.decode(r.value) for r in log.bus.records("im.outbound.gw-1"))
    frame = JSON.parse_server(answer.body)
    assert isinstance(frame, Sent)
    assert (frame.seq, answer.users, answer.session_id) == (1, ["alice"], "s1")


def test_other_content_under_the_same_id_is_a_conflict() -> None:
    """The second text is rejected with 1202 and takes no seq."""
    log = Log()
    log.accept("hi", "m1")
    log.accept("something else", "m1")
    asyncio.run(_run_all(log))
    assert [m.content for m in log.messages()] == ['{"text":"hi"}']
    (answer,) = (OUTBOUND.decode(r.value) for r in log.bus.records("im.outbound.gw-1"))
    frame = JSON.parse_server(answer.body)
    assert isinstance(frame, Rejected)
    assert frame.code == 1202


def test_outside_the_window_an_id_may_be_used_again() -> None:
    """Remembering is bounded: after the window the same id is a new message."""
    log = Log()
    log.accept("hi", "m1")
    for number in range(SETTINGS.dedupe_window_s // 10 + 1):
        log.clock.advance(10)
        log.accept("tick", f"t{number}", "g:tea")
    log.accept("hi", "m1")
    asyncio.run(_run_all(log))
    assert [m.seq for m in log.messages() if m.conversation_id == "d:alice:bob"] == [1, 2]


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("stored", [0, 3])
def test_a_long_standstill_makes_no_message_new(stored: int, goes_on: bool) -> None:
    """What came again after it is a repeat to a worker that went on and to one that began then, which also
    knows what was placed behind its position."""
    log = Log()
    for number in range(3):
        log.accept("hi", f"m{number}")

    async def run() -> None:
        lasting = await log.worker(0)
        await log.run(lasting, log.accepted())
        await log.store(stored)
        log.clock.advance(10 * SETTINGS.dedupe_window_s)
        if not goes_on:
            lasting = await log.worker(1)
            await log.run(lasting, log.accepted(1))
        await asyncio.to_thread(log.accept, "hi", "m0")
        await asyncio.to_thread(log.accept, "ho", "m3")
        await log.run(lasting, log.accepted(3))

    asyncio.run(run())
    assert [(m.seq, m.client_msg_id) for m in log.messages()] == [(1, "m0"), (2, "m1"), (3, "m2"), (4, "m3")]
    assert len(log.bus.records("im.messages")) == 4


def test_a_quiet_conversation_goes_on_from_the_history() -> None:
    """With im.messages gone past retention, the next seq follows the newest stored one."""
    log = Log()
    log.accept("hi", "m1")
    asyncio.run(_run_all(log))
    asyncio.run(log.store(1))
    log.bus.expire("im.messages", 0, 1)
    log.clock.advance(10 * SETTINGS.dedupe_window_s)
    log.accept("again", "m2")

    async def later() -> None:
        await log.run(await log.worker(1), log.accepted(1))

    asyncio.run(later())
    assert [m.seq for m in log.messages()] == [2]


def test_a_record_that_is_no_accepted_is_buried_and_the_next_goes_on() -> None:
    """Poison costs one dead letter and no seq."""
    log = Log()
    log.accept("hi", "m1")
    poison = Record("im.accepted", 0, 1, 1, b"d:alice:bob", b"junk")
    good = an_accepted_record(an_inbound("ho", client_msg_id="m2"), 2)

    async def run() -> Batch:
        stage = await log.worker(0)
        batch = Batch("im.accepted", 0, [*log.accepted(), poison, good], 0.0)
        await stage.load(batch)
        await stage.perform(stage.plan(batch))
        return batch

    batch = asyncio.run(run())
    assert [buried.record for buried in batch.buried] == [poison]
    assert [m.seq for m in log.messages()] == [1, 2]


def test_junk_in_im_messages_takes_no_place() -> None:
    """A restarted worker reads over a record that is no Message and counts on."""
    log = Log()
    log.accept("hi", "m1")
    asyncio.run(_run_all(log))
    asyncio.run(log.bus.publish([Outgoing("im.messages", 0, b"junk", b"d:alice:bob")]))
    log.accept("again", "m2")

    async def later() -> None:
        await log.run(await log.worker(1), log.accepted(1))

    asyncio.run(later())
    assert MESSAGE.decode(log.bus.records("im.messages")[-1].value).seq == 2


SENDS = st.lists(
    st.tuples(st.sampled_from(["d:alice:bob", "g:tea", "g:mate"]), st.integers(0, 6)), min_size=1, max_size=25
)
MOST_ZOMBIES = 2
"""What they write together is no more than `STEP_BACK_RECORDS`."""
CRASHES = st.lists(
    st.tuples(st.integers(0, 25), st.integers(1, 6), st.booleans(), st.integers(0, 25)), max_size=6
)


@given(SENDS, CRASHES)
@example([("d:alice:bob", 0), ("d:alice:bob", 1)], [(0, 2, False, 0), (0, 1, True, 1)])
@example(
    [("d:alice:bob", number) for number in (0, 0, 0, 0, 0, 0, 2, 0, 0, 1, 1)],
    [(0, 1, True, 0), (0, 5, True, 0), (0, 1, False, 0), (0, 1, True, 0), (0, 3, True, 0)],
)
def test_restarts_zombies_and_repeats_change_nothing(
    sends: list[tuple[str, int]], crashes: list[tuple[int, int, bool, int]]
) -> None:
    """Workers that start behind, stop anywhere, overlap and write again yield the order of one run."""
    calm, wild = Log(), Log()
    for log in (calm, wild):
        for conversation_id, number in sends:
            log.accept(f"text {number}", f"m{number}", conversation_id)
    asyncio.run(_run_all(calm))

    async def storm() -> None:
        committed = 0
        zombies: list[tuple[Sequencing, list[Record]]] = []
        for start, length, published, stored in crashes:
            position = min(start, committed)
            stage = await wild.worker(position)
            records = wild.accepted(position)[: committed - position + length]
            if published or len(zombies) == MOST_ZOMBIES:
                await wild.run(stage, records)
                committed = max(committed, position + len(records))
            else:
                zombies.append((stage, records))
            await wild.store(min(stored, len(wild.bus.records("im.messages"))))
        for stage, records in zombies:
            await wild.run(stage, records)
        await wild.run(await wild.worker(committed), wild.accepted(committed))

    asyncio.run(storm())
    assert wild.messages() == calm.messages()


async def _run_all(log: Log) -> None:
    await log.run(await log.worker(0), log.accepted())
