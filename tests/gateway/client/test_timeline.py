"""One conversation: each seq once, in order, holes found."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.timeline import Timeline
from schemas.frames import Message


def a_message(seq: int) -> Message:
    return Message(
        conversation_id="g:x",
        seq=seq,
        message_id=str(seq),
        client_msg_id=str(seq),
        sender="bob",
        kind="text",
        content={"text": str(seq)},
        sent_at_ms=seq,
    )


@given(seqs=st.lists(st.integers(1, 30), max_size=80))
def test_what_comes_out_is_contiguous(seqs: list[int]) -> None:
    """Whatever comes in, in any order and however often, what comes out is 1, 2, 3 … without a repeat."""
    timeline = Timeline("alice")
    timeline.level = 0
    out = []
    for seq in seqs:
        timeline.add(a_message(seq))
        out += [message.seq for message in timeline.take()]
    assert out == list(range(1, len(out) + 1))
    beyond = {seq for seq in seqs if seq > len(out)}
    assert timeline.hole == ((len(out) + 1, min(beyond) - 1) if beyond else None)


def test_a_skipped_hole_lets_the_rest_out() -> None:
    """Giving a hole up returns it, and what was held behind it comes out."""
    timeline = Timeline("alice")
    timeline.level = 1
    timeline.add(a_message(5))
    assert timeline.take() == []
    assert timeline.skip_hole() == (2, 4)
    assert [message.seq for message in timeline.take()] == [5]


def test_a_told_head_is_a_hole_at_the_end() -> None:
    """A head beyond what is here shows that the tail is missing."""
    timeline = Timeline("alice")
    timeline.level = 3
    timeline.know_head(5)
    assert timeline.hole == (4, 5)


def test_who_had_left_before_this_run_is_outside() -> None:
    """What an earlier run has seen ends with the leave: what is said there now is no hole for him."""
    left = msgspec.structs.replace(
        a_message(2), kind="member", content={"action": "left", "users": ["alice"]}
    )
    for newest, is_outside in ((left, True), (a_message(2), False)):
        timeline = Timeline("alice")
        timeline.know_head(3)
        for message in (a_message(1), newest):
            timeline.add(message)
        timeline.begin_after(known_ms=10)
        assert (timeline.level, timeline.take(), timeline.outside) == (2, [], is_outside)
