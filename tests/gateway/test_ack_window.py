"""Unacknowledged deliveries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ack_window import MAX_UNACKED_FRAMES, AckWindow
from gateway.wire import Delivery, EncodedMessage
from schemas.errors import Refused
from tests.builders import a_message


def a_delivery(seq: int = 1, at: float = 0.0) -> Delivery:
    return Delivery([EncodedMessage(a_message(seq=seq, sent_at_ms=1_000 + seq))], at)


@given(st.lists(st.one_of(st.none(), st.integers(-2, 60)), max_size=80))
def test_the_window_holds_exactly_what_is_not_acknowledged(steps: list[int | None]) -> None:
    """Under any pushes (None) and acks: n counts from 1, acks are cumulative, false acks change nothing."""
    window, pushed, acked = AckWindow(), 0, 0
    for step in steps:
        if step is None:
            pushed += 1
            assert window.push(a_delivery(pushed)) == pushed
        elif 0 <= step <= pushed:
            covered = window.ack(step)
            assert [d.last_seq for d in covered] == list(range(acked + 1, step + 1))
            acked = max(acked, step)
        else:
            with pytest.raises(Refused):
                window.ack(step)
        assert [n for n, _ in window.unacked()] == list(range(acked + 1, pushed + 1))
        assert window.last_n == pushed
        assert (window.unacked_bytes == 0) == (acked == pushed)
        assert window.oldest_ms == (None if acked == pushed else 1_000 + acked + 1)


def test_what_waits_too_long_is_due_again_three_times() -> None:
    """18 s × 3 tries: sent at 0, again at 18 and 36, given up at 54."""
    window = AckWindow()
    window.push(a_delivery(at=0.0))
    assert window.due(17.9, 18.0) == []
    for now in (18.0, 36.0):
        assert [n for n, _ in window.due(now, 18.0)] == [1]
        assert window.retry(now, 3)
        assert window.due(now, 18.0) == []
    assert window.due(54.0, 18.0)
    assert not window.retry(54.0, 3)


def test_an_ack_starts_the_tries_anew() -> None:
    """A client that makes progress is not given up."""
    window = AckWindow()
    window.push(a_delivery(1, at=0.0))
    window.push(a_delivery(2, at=0.0))
    assert window.retry(18.0, 2)
    window.ack(1)
    assert window.retry(36.0, 2)


def test_the_window_is_bounded() -> None:
    """In frames and in bytes."""
    window = AckWindow()
    for seq in range(1, MAX_UNACKED_FRAMES + 1):
        window.push(a_delivery(seq))
    assert not window.is_full(1 << 30)
    assert window.is_full(1_000)
    window.push(a_delivery(seq=5_000))
    assert window.is_full(1 << 30)
