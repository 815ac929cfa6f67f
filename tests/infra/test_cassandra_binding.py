"""infra/cassandra/binding.py"""

from __future__ import annotations

import struct

import pytest
from cassandra.cqltypes import BooleanType, Int32Type, ListType, LongType, UTF8Type
from hypothesis import given
from hypothesis import strategies as st

from infra.cassandra.binding import RECALLED, Write, cursor_writes, mute_write, write_of
from infra.cassandra.cql import CQL, named_statements
from schemas.records import Receipt
from schemas.tables import BucketRow, ChangeRow, EventRow, MembershipRow, MessageRow, Row

V5 = 5
ROWS: list[Row] = [
    MessageRow("g:team", 10_001, "m", "alice", "c", "text", '{"text":"é"}', 1_700_000_000_000, 0, []),
    ChangeRow("g:team", 3, 9, 1_700_000_000_000, "{}"),
    ChangeRow("g:team", 3, 9, 1_700_000_000_000, None),
    EventRow("g:team", 1, 7, "group", "{}", 1_700_000_000_000),
    BucketRow("g:team", 1, 10_001, 1_700_000_000_000),
    MembershipRow("alice", "g:team", 5, inside=True),
    MembershipRow("alice", "g:team", 6, inside=False),
]


def big(number: int) -> bytes:
    packed: bytes = LongType.serialize(number, V5)
    return packed


def test_a_message_is_packed_as_the_driver_packs_it() -> None:
    """Each value by the type of its column, the write timestamp last."""
    row = MessageRow("g:team", 10_001, "m", "alice", "c", "text", '{"text":"é"}', 1_700, 4, ["bob", "é"])
    text = [UTF8Type.serialize(value, V5) for value in ("m", "alice", "c", "text", '{"text":"é"}')]
    mentions = ListType.apply_parameters([UTF8Type]).serialize(["bob", "é"], V5)
    assert list(write_of(row).values) == [
        b"g:team",
        Int32Type.serialize(1, V5),
        big(10_001),
        *text,
        big(1_700),
        big(4),
        mentions,
        big(10_001),
    ]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_list_of_mentions_is_packed_as_the_driver_packs_it(mentions: list[str]) -> None:
    """Empty ones too."""
    row = MessageRow("g:team", 1, "m", "alice", "c", "text", "{}", 1, 0, mentions)
    assert write_of(row).values[-2] == ListType.apply_parameters([UTF8Type]).serialize(mentions, V5)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_a_value_for_each_question_mark(row: Row) -> None:
    """Nothing is left unset."""
    queries = named_statements((CQL / "queries.cql").read_text())
    write = write_of(row)
    assert len(write.values) == queries[write.statement].count("?")


def test_a_recall_is_written_above_every_edit() -> None:
    """Of whatever seq the edit is, and whichever arrives first."""
    recall = write_of(ChangeRow("g:team", 3, 9, 1, None))
    edit = write_of(ChangeRow("g:team", 3, 10**12, 1, "{}"))
    assert recall.values[0] == big(RECALLED + 9)
    assert edit.values[0] == big(10**12) < recall.values[0]


def test_a_change_goes_to_the_partition_of_the_message_it_changes() -> None:
    """However much later it comes."""
    message = MessageRow("g:team", 10_001, "m", "alice", "c", "text", "{}", 1, 0, [])
    change = ChangeRow("g:team", 10_001, 99_999, 1, "{}")
    assert write_of(message).partition == write_of(change).partition


def test_a_cursor_is_its_own_write_timestamp() -> None:
    """So the highest stays, in whatever order they come; -1 and 0 say nothing."""
    receipt = Receipt("g:team", "alice", delivered_seq=7, read_seq=0, session_id="s", at_ms=1)
    assert cursor_writes([receipt]) == [
        Write("move_delivered", (big(7), big(7), b"alice", b"g:team"), (b"alice",)),
    ]
    read = Receipt("g:team", "alice", delivered_seq=-1, read_seq=5, session_id="s", at_ms=1)
    assert [write.statement for write in cursor_writes([read])] == ["move_read"]


@pytest.mark.parametrize("muted", [True, False])
def test_a_mute_is_as_old_as_the_wish(muted: bool) -> None:
    """The later wish stays."""
    values = (big(123), BooleanType.serialize(muted, V5), b"alice", b"g:team")
    assert mute_write("alice", "g:team", muted, 123) == Write("mute", values, (b"alice",))


def test_the_ring_hashes_one_value_bare_and_several_framed() -> None:
    """As Cassandra composes a partition key."""
    assert Write("x", (), (b"alice",)).routing_key == b"alice"
    assert Write("x", (), (b"g:team", struct.pack(">i", 1))).routing_key == b"\0\6g:team\0\0\4\0\0\0\1\0"
