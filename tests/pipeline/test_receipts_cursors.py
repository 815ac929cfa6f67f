"""pipeline/receipts/cursors.py"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.receipts.cursors import Cursors, merge
from schemas.records import Receipt
from schemas.tables import Cursor


def a_receipt(delivered: int = -1, read: int = -1, user: str = "bob", session: str = "s1") -> Receipt:
    return Receipt("d:alice:bob", user, delivered, read, session, 0)


def test_the_highest_of_each_cursor_wins() -> None:
    """Each on its own, and the session is that which read furthest."""
    said = [a_receipt(3, -1, session="s1"), a_receipt(-1, 5, session="s2"), a_receipt(9, 2, session="s3")]
    assert merge(said) == [a_receipt(9, 5, session="s2")]


def test_users_do_not_mix() -> None:
    """One receipt for each."""
    assert merge([a_receipt(1), a_receipt(2, user="alice")]) == [a_receipt(1), a_receipt(2, user="alice")]


def test_a_cursor_that_does_not_rise_is_not_told_again() -> None:
    """Nothing at all if none rises; -1 stands where only the other does."""
    cursors = Cursors()
    assert cursors.raised([a_receipt(5, 3)]) == [a_receipt(5, 3)]
    assert cursors.raised([a_receipt(5, 2)]) == []
    assert cursors.raised([a_receipt(4, 4)]) == [a_receipt(-1, 4)]


def test_a_forgotten_cursor_is_to_be_looked_up_again() -> None:
    """The bound costs a query and nothing else."""
    cursors = Cursors(limit=16)
    for number in range(100):
        cursors.raised([a_receipt(1, user=f"u{number}")])
    assert cursors.unknown([a_receipt(1, user="u0"), a_receipt(1, user="u99")]) == {"u0": ["d:alice:bob"]}


def test_nothing_below_a_stored_cursor_is_told() -> None:
    """Its own height is: whoever stored it may not have told it. What is known already stays."""
    cursors = Cursors()
    cursors.know("bob", "d:alice:bob", Cursor(read_seq=3, delivered_seq=5))
    assert cursors.unknown([a_receipt(4)]) == {}
    assert cursors.raised([a_receipt(4, 2)]) == []
    assert cursors.raised([a_receipt(5, 2)]) == [a_receipt(5, -1)]
    cursors.know("bob", "d:alice:bob", Cursor())
    assert cursors.raised([a_receipt(5, 3)]) == [a_receipt(-1, 3)]


@given(st.lists(st.lists(st.tuples(st.integers(-1, 9), st.integers(-1, 9)), max_size=4), max_size=8))
def test_what_is_told_rises_and_ends_at_the_highest(batches: list[list[tuple[int, int]]]) -> None:
    """However the same receipts are cut into batches."""
    cursors, told = Cursors(), []
    for batch in batches:
        told += cursors.raised([a_receipt(delivered, read) for delivered, read in batch])
    for index in (0, 1):
        said = [pair[index] for batch in batches for pair in batch]
        heard = [(r.delivered_seq, r.read_seq)[index] for r in told]
        heard = [seq for seq in heard if seq >= 0]
        assert heard == sorted(set(heard))
        assert max(heard, default=-1) == max(said, default=-1)


@given(
    st.lists(st.lists(st.tuples(st.integers(-1, 9), st.integers(-1, 9)), min_size=1, max_size=4), max_size=8),
    st.data(),
)
def test_owners_that_follow_each_other_tell_nothing_lower(
    batches: list[list[tuple[int, int]]], data: st.DataObject
) -> None:
    """Each repeats from any batch on, maybe with nothing told of the last; in the end all is told."""
    stored, told, at = Cursor(), [], 0
    cursors = Cursors()
    while at < len(batches):
        if data.draw(st.booleans(), "another takes over"):
            at, cursors = data.draw(st.integers(0, at)), Cursors()
        cursors.know("bob", "d:alice:bob", stored)
        risen = cursors.raised([a_receipt(delivered, read) for delivered, read in batches[at]])
        for receipt in risen:
            stored = Cursor(
                max(stored.read_seq, receipt.read_seq), max(stored.delivered_seq, receipt.delivered_seq)
            )
        at += 1
        if data.draw(st.booleans(), "it ends before it tells anybody"):
            at, cursors = at - 1, Cursors()
        else:
            told += risen
    for index in (0, 1):
        heard = [seq for r in told if (seq := (r.delivered_seq, r.read_seq)[index]) > 0]
        said = [pair[index] for batch in batches for pair in batch]
        assert heard == sorted(heard)
        assert max(heard, default=0) == max(0, *said, 0)
