"""The history on a real Cassandra."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import permutations

import pytest

from infra.cassandra import CassandraHistory, apply_migrations
from infra.settings import Settings
from schemas.errors import BadInput
from schemas.ids import new_name
from schemas.records import Receipt
from schemas.tables import (
    BUCKET_SIZE,
    BucketRow,
    ChangeRow,
    Cursor,
    EventRow,
    HistoryRow,
    Membership,
    MembershipRow,
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


async def test_a_message_comes_back_as_it_was_written(history: CassandraHistory, group: str) -> None:
    """Every field of it."""
    await history.write(said(group, 1))
    assert await history.page(group, limit=10) == [
        HistoryRow(group, 1, "m1", "alice", "c1", "text", '{"text":"hi"}', 1_001, 0, ["bob"])
    ]


async def test_repeats_change_nothing(history: CassandraHistory, group: str) -> None:
    """Not even one that comes after a later change."""
    rows: list[Row] = [*said(group, 1, 2, 3), ChangeRow(group, 1, 3, 7_000, '{"text":"new"}')]
    await history.write(rows)
    before = await history.page(group, limit=10)
    await history.write(rows[:2])
    await history.write(rows)
    assert await history.page(group, limit=10) == before
    assert before[-1].content == '{"text":"new"}'


@pytest.mark.parametrize("order", list(permutations(range(4))))
async def test_a_recall_wins_in_every_order_of_arrival(
    history: CassandraHistory, group: str, order: tuple[int, ...]
) -> None:
    """Over edits before it and after it, and over the message itself if that comes last."""
    await history.write([BucketRow(group, 0, 1, 1_000)])
    rows: list[Row] = [
        a_row(group, 1),
        ChangeRow(group, 1, 2, 7_000, '{"text":"first edit"}'),
        ChangeRow(group, 1, 3, 8_000, None),
        ChangeRow(group, 1, 4, 9_000, '{"text":"second edit"}'),
    ]
    for index in order:
        await history.write([rows[index]])
    (row,) = await history.page(group, limit=10)
    assert (row.content, row.recalled, row.edited_at_ms) == ("{}", True, 9_000)


async def test_of_two_edits_the_later_seq_wins(history: CassandraHistory, group: str) -> None:
    """Whichever is stored first."""
    edits = [ChangeRow(group, 1, seq, seq * 1_000, f'{{"text":"{seq}"}}') for seq in (5, 3)]
    await history.write([*said(group, 1), edits[0]])
    await history.write([edits[1]])
    (row,) = await history.page(group, limit=10)
    assert (row.content, row.edited_at_ms) == ('{"text":"5"}', 5_000)


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
        ({}, 2),
        ({"before_seq": 250_000}, 2),
        ({"before_seq": 30}, 2),
        ({"before_seq": 250_001}, 2),
        ({"before_seq": 250_010}, 3),
        ({"after_seq": 5}, 2),
        ({"after_seq": 249_990}, 3),
        ({"before_seq": 10**15}, 2),
    ],
)
async def test_a_page_costs_the_same_in_a_conversation_of_any_length(
    history: CassandraHistory, group: str, place: dict[str, int], queries: int
) -> None:
    """Two queries, one more across a border, and no look into buckets in between; of 26 buckets here."""
    rows = [row for row in said(group, 260_000) if isinstance(row, BucketRow)]
    near = [*range(1, 60), *range(249_950, 250_060), *range(259_950, 260_001)]
    await history.write([*rows, *(a_row(group, seq) for seq in near)])
    before = history.requests
    assert len(await history.page(group, limit=20, **place)) == 20
    assert history.requests - before == queries


async def test_events_come_back_oldest_first_however_many(history: CassandraHistory, group: str) -> None:
    """More than the driver takes in one page (5,000)."""
    events = [EventRow(group, seq, seq + 7, "member", "{}", 1_000) for seq in range(1, 5_102)]
    await history.write(events[::-1])
    assert await history.events(group) == [StoredEvent(e.seq, e.source_offset, e.kind, "{}") for e in events]


async def test_memberships_tell_the_newest_stay(history: CassandraHistory, group: str) -> None:
    """In whatever order joins and leaves arrive; a leave alone says nothing."""
    user, other = new_name(), new_name()

    def moved(who: str, seq: int, inside: bool) -> MembershipRow:
        return MembershipRow(who, group, seq, inside)

    await history.write([moved(user, 9, inside=True), moved(user, 5, inside=False)])
    await history.write([moved(user, 1, inside=True), moved(other, 5, inside=False)])
    assert await history.conversations(user) == [Membership(group, 9, 0)]
    assert await history.conversations(other) == []
    await history.write([moved(user, 12, inside=False)])
    assert await history.conversations(user) == [Membership(group, 9, 12)]


async def test_cursors_only_rise(history: CassandraHistory, group: str) -> None:
    """And a mute leaves them alone."""
    user = new_name()
    await history.move_cursors([Receipt(group, user, 9, 7, "s", 1), Receipt(group, user, 8, -1, "s", 2)])
    await history.move_cursors([Receipt(group, user, -1, 3, "s", 3)])
    await history.mute(user, group, True, at_ms=20)
    await history.mute(user, group, False, at_ms=10)
    assert await history.cursors(user) == {group: Cursor(7, 9, True)}


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
