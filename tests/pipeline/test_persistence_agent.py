"""pipeline/persistence/agent.py"""

from __future__ import annotations

from infra.memory.history import MemoryHistory
from infra.ports import Record
from pipeline.batch import Batch
from pipeline.persistence.agent import Persistence
from schemas.records import Kind
from schemas.tables import BucketRow, MessageRow
from tests.builders import a_message, a_record, framed

GROUP = "g:team"


def said(seq: int, kind: Kind = "text", content: str = '{"text":"hello"}') -> Record:
    message = a_message(seq, source_offset=seq, conversation_id=GROUP, kind=kind, content=content)
    return a_record(framed(message), offset=seq)


def a_batch(*records: Record) -> Batch:
    return Batch("im.messages", 0, records, 0.0)


async def seqs(history: MemoryHistory) -> list[int]:
    return [row.seq for row in await history.page(GROUP, after_seq=0, limit=100)]


async def test_a_batch_ends_in_the_history() -> None:
    """Every message of it, once `perform` has returned."""
    history = MemoryHistory()
    stage = Persistence(history)
    await stage.perform(stage.plan(a_batch(*map(said, range(1, 6)))))
    assert await seqs(history) == [1, 2, 3, 4, 5]


async def test_effects_may_be_performed_again() -> None:
    """As the loop does when the history could not answer."""
    history = MemoryHistory()
    stage = Persistence(history)
    effects = stage.plan(a_batch(said(1), said(2, "recall", '{"seq":1}')))
    await stage.perform(effects)
    await stage.perform(effects)
    assert [row.recalled for row in await history.page(GROUP, limit=10)] == [False, True]


async def test_what_does_not_rise_is_dropped() -> None:
    """A worker that was paused writes again what another has written meanwhile."""
    stage = Persistence(MemoryHistory())
    stage.plan(a_batch(*map(said, range(1, 6))))
    again = stage.plan(a_batch(*map(said, range(3, 8))))
    assert [row.seq for row in again if isinstance(row, MessageRow)] == [6, 7]


async def test_a_partition_that_comes_back_begins_anew() -> None:
    """What another worker has stored meanwhile is taken again from wherever the log is read."""
    stage = Persistence(MemoryHistory())
    stage.plan(a_batch(said(5)))
    stage.revoke(0)
    await stage.assign(0, 2)
    assert len(stage.plan(a_batch(said(2)))) == 1


async def test_bytes_that_are_no_message_are_buried_and_the_others_go_on() -> None:
    """One bad record costs one record."""
    batch = a_batch(said(2), a_record(b"junk", offset=3), said(4))
    rows = Persistence(MemoryHistory()).plan(batch)
    assert [row.seq for row in rows if isinstance(row, MessageRow)] == [2, 4]
    assert [buried.record.value for buried in batch.buried] == [b"junk"]


async def test_a_bucket_is_known_even_if_its_first_message_is_buried() -> None:
    """Or nobody would find the ten thousand after it."""
    batch = a_batch(said(10_001, "recall", '{"seq":"four"}'))
    assert Persistence(MemoryHistory()).plan(batch) == [BucketRow(GROUP, 1, 10_001, 1_700_000_000_001)]
    assert len(batch.buried) == 1
