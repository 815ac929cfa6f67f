"""pipeline/receipts/cursors.py"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.receipts.cursors import Cursors, merge
from schemas.records import Receipt


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


def test_a_forgotten_cursor_is_told_again() -> None:
    """The bound costs a repeated frame and nothing else."""
    cursors = Cursors(limit=16)
    for number in range(100):
        cursors.raised([a_receipt(1, user=f"u{number}")])
    assert cursors.raised([a_receipt(1, user="u0")]) == [a_receipt(1, user="u0")]
    assert cursors.raised([a_receipt(1, user="u99")]) == []


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
