"""Unread is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.unread import UNREAD_SCAN, Unread, count_unread
from schemas.records import EVENT_KINDS, Kind
from schemas.tables import HistoryRow


def a_row(seq: int, sender: str = "bob", kind: Kind = "text", mentions: tuple[str, ...] = ()) -> HistoryRow:
    return HistoryRow("g:t", seq, f"id{seq}", sender, f"m{seq}", kind, "{}", seq, 0, list(mentions))


rows = st.lists(st.tuples(st.sampled_from(["alice", "bob"]), st.sampled_from(["text", "member", "edit"])))


@given(rows, st.integers(0, 30))
def test_unread_leaves_out_own_messages_and_events(said: list[tuple[str, Kind]], floor: int) -> None:
    """Above the floor, everything that somebody else said aloud."""
    newest_first = [a_row(seq, *what) for seq, what in reversed(list(enumerate(said, 1)))]
    expected = sum(
        seq > floor and sender == "bob" and kind not in EVENT_KINDS
        for seq, (sender, kind) in enumerate(said, 1)
    )
    assert count_unread([r for r in newest_first if r.seq > floor], floor, "alice").count == expected


def test_a_mention_above_the_floor_is_seen() -> None:
    """And one that was read is not."""
    read, unread = a_row(1, mentions=("alice",)), a_row(2)
    assert count_unread([unread, read], 1, "alice") == Unread(1, False)
    assert count_unread([unread, read], 0, "alice") == Unread(2, True)


def test_what_lies_below_the_scan_counts_as_unread() -> None:
    """The bound that is documented: the newest 1,000 are looked at."""
    head = 5_000
    newest_first = [a_row(seq, sender="alice") for seq in range(head, head - UNREAD_SCAN, -1)]
    assert count_unread(newest_first, 10, "alice").count == head - UNREAD_SCAN - 10
