"""What one connection has yet to write."""

from __future__ import annotations

from gateway.outbox import Outbox


def test_frames_of_a_turn_leave_together_and_in_order() -> None:
    """One piece for one write, and nothing twice."""
    outbox = Outbox()
    outbox.put(b"a")
    outbox.put(b"bc")
    assert (len(outbox), outbox.size_bytes) == (2, 3)
    assert outbox.take() == b"abc"
    assert (len(outbox), outbox.size_bytes, outbox.take()) == (0, 0, b"")
