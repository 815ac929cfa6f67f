"""What can be shown of a history that is being written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.holes import up_to_hole
from schemas.tables import HistoryRow


def rows_at(*seqs: int) -> list[HistoryRow]:
    """Messages with these seqs, each sent at a hundred times its seq."""
    return [
        HistoryRow(
            conversation_id="g:t",
            seq=seq,
            message_id=f"id{seq}",
            sender="alice",
            client_msg_id=f"m{seq}",
            kind="text",
            content="{}",
            sent_at_ms=100 * seq,
            quote_seq=0,
            mentions=[],
        )
        for seq in seqs
    ]


def seqs_up_to_hole(seqs: list[int], after_seq: int | None, settled_ms: int) -> list[int]:
    return [row.seq for row in up_to_hole(rows_at(*seqs), after_seq, settled_ms)]


def test_what_lies_behind_a_missing_first_message_is_not_shown() -> None:
    """Unless it is not known where the page begins."""
    assert seqs_up_to_hole([2, 3], 0, 0) == []
    assert seqs_up_to_hole([2, 3], None, 0) == [2, 3]
    assert seqs_up_to_hole([2, 3], 1, 0) == [2, 3]
    assert seqs_up_to_hole([], 0, 0) == []


def test_a_hole_that_stays_hides_nothing() -> None:
    """What everything is stored before was not lost on the way: it is not there."""
    assert seqs_up_to_hole([1, 3, 4, 6], 0, 0) == [1]
    assert seqs_up_to_hole([1, 3, 4, 6], 0, 301) == [1, 3, 4]
    assert seqs_up_to_hole([1, 3, 4, 6], 0, 601) == [1, 3, 4, 6]


@given(st.sets(st.integers(1, 12)), st.sets(st.integers(1, 12), max_size=2), st.integers(0, 14))
def test_what_is_shown_never_has_to_be_mended(late: set[int], lost: set[int], settled: int) -> None:
    """A client that shows what it gets in order takes everything else later, but for what is lost."""
    stored = set(range(1, 13)) - lost
    now = sorted(seq for seq in stored if seq < settled or seq not in late)
    shown = seqs_up_to_hole(now, 0, 100 * settled)
    newest = shown[-1] if shown else 0
    assert shown == sorted(seq for seq in stored if seq <= newest)
