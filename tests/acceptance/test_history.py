"""The history on a real Cassandra: what its port's checks (tests/contracts/history.py) do not ask."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from infra.cassandra import CassandraHistory, apply_migrations
from infra.settings import Settings
from schemas.errors import BadInput
from schemas.ids import new_name
from schemas.tables import (
    BUCKET_SIZE,
    BucketRow,
    ChangeRow,
    EventRow,
    HistoryRow,
    MessageRow,
    Row,
    StoredEvent,
    bucket_of,
)

pytestmark = pytest.mark.acceptance


@pytest.fixture
async def history(engines: Settings) -> AsyncIterator[CassandraHistory]:
    history = CassandraHistory(engines)
    await history.startup()
    yield history
    await history.shutdown()


@pytest.fixture
def group() -> str:
    """A conversation that no other test has."""
    return f"g:{new_name()}"


def a_row(group: str, seq: int, content: str = '{"text":"hi"}') -> MessageRow:
    return MessageRow(group, seq, f"m{seq}", "alice", f"c{seq}", "text", content, 1_000 + seq, 0, ["bob"])


def said(group: str, *seqs: int) -> list[Row]:
    firsts = {bucket_of(seq) for seq in seqs}
    buckets = [BucketRow(group, bucket, bucket * BUCKET_SIZE + 1, 1_000) for bucket in range(max(firsts) + 1)]
    return [*buckets, *(a_row(group, seq) for seq in seqs)]


def seqs_of(page: list[HistoryRow]) -> list[int]:
    return [row.seq for row in page]


async def test_repeats_change_nothing(history: CassandraHistory, group: str) -> None:
    """Not even one that comes after a later change."""
    rows: list[Row] = [*said(group, 1, 2, 3), ChangeRow(group, 1, 3, 7_000, '{"text":"new"}')]
    await history.write(rows)
    before = await history.page(group, limit=10)
    await history.write(rows[:2])
    await history.write(rows)
    assert await history.page(group, limit=10) == before
    assert before[-1].content == '{"text":"new"}'


async def test_a_change_without_its_message_is_no_message(history: CassandraHistory, group: str) -> None:
    """And takes no message's place on a page."""
    await history.write([*said(group, 1, 2, 4), ChangeRow(group, 3, 4, 1, "{}")])
    assert seqs_of(await history.page(group, limit=3)) == [4, 2, 1]
    assert seqs_of(await history.page(group, after_seq=1, limit=2)) == [2, 4]


async def test_pages_cross_the_borders_of_buckets_both_ways(history: CassandraHistory, group: str) -> None:
    """Nobody who turns pages sees where one partition ends."""
    seqs = [*range(9_995, 10_006), *range(19_998, 20_004)]
    await history.write(said(group, *seqs))
    down: list[int] = []
    before = None
    while page := await history.page(group, before_seq=before, limit=4):
        down += seqs_of(page)
        before = page[-1].seq
    up: list[int] = []
    after = 9_990
    while page := await history.page(group, after_seq=after, limit=4):
        up += seqs_of(page)
        after = page[-1].seq
    assert up == seqs
    assert down == seqs[::-1]


async def test_a_page_beyond_either_end_is_empty_or_the_end(history: CassandraHistory, group: str) -> None:
    """Whatever a client asks for."""
    await history.write(said(group, 1, 2))
    assert seqs_of(await history.page(group, before_seq=10**15, limit=10)) == [2, 1]
    assert await history.page(group, before_seq=1, limit=10) == []
    assert await history.page(group, after_seq=10**15, limit=10) == []
    assert await history.page("g:nowhere", limit=10) == []
    assert await history.head("g:nowhere") is None


@pytest.mark.parametrize(
    ("place", "queries"),
    [
        ({}, 3),
        ({"before_seq": 250_000}, 2),
        ({"before_seq": 30}, 2),
        ({"before_seq": 250_001}, 2),
        ({"before_seq": 250_010}, 3),
        ({"after_seq": 5}, 2),
        ({"after_seq": 249_990}, 3),
        ({"before_seq": 10**15}, 3),
    ],
)
async def test_a_page_costs_the_same_in_a_conversation_of_any_length(
    history: CassandraHistory, group: str, place: dict[str, int], queries: int
) -> None:
    """Two queries, one more across a border or where the newest bucket is not known yet, and no look into
    buckets in between; of 26 buckets here."""
    rows = [row for row in said(group, 260_000) if isinstance(row, BucketRow)]
    near = [*range(1, 60), *range(249_950, 250_060), *range(259_950, 260_001)]
    await history.write([*rows, *(a_row(group, seq) for seq in near)])
    before = history.requests
    assert len(await history.page(group, limit=20, **place)) == 20
    assert history.requests - before == queries
    await history.page(group, limit=20)
    before = history.requests
    assert seqs_of(await history.page(group, limit=20)) == list(range(260_000, 259_980, -1))
    assert history.requests - before == 2


async def test_events_come_back_oldest_first_however_many(history: CassandraHistory, group: str) -> None:
    """More than the driver takes in one page (5,000)."""
    events = [EventRow(group, seq, seq + 7, "member", "{}", 1_000) for seq in range(1, 5_102)]
    await history.write(events[::-1])
    assert await history.events(group) == [StoredEvent(e.seq, e.source_offset, e.kind, "{}") for e in events]


async def test_a_row_that_is_too_large_is_named_and_nothing_is_written(
    history: CassandraHistory, group: str
) -> None:
    """Not the rows before it either."""
    with pytest.raises(BadInput, match=group):
        await history.write([*said(group, 1), a_row(group, 2, "x" * 1_048_576)])
    assert await history.page(group, limit=10) == []


async def test_rows_larger_than_a_batch_are_stored(history: CassandraHistory, group: str) -> None:
    """Each alone."""
    large = [a_row(group, seq, "x" * 300_000) for seq in (1, 2, 3)]
    await history.write([BucketRow(group, 0, 1, 1_000), *large])
    assert [len(row.content) for row in await history.page(group, limit=10)] == [300_000] * 3


async def test_migrations_are_applied_once(engines: Settings) -> None:
    """The stack has applied them; a keyspace of another name gets its own."""
    assert await apply_migrations(engines) == []
    elsewhere = engines.model_copy(update={"keyspace": "elsewhere"})
    assert await apply_migrations(elsewhere) == ["001_history"]
    assert await apply_migrations(elsewhere) == []
