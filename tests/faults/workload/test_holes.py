"""ranges.py and holes.py: what a client has and what it lacks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.workload.holes import AGAIN_S, HEAD_PATIENCE_S, TRIES, Hole, Holes
from tests.faults.workload.ranges import Ranges


@given(st.lists(st.integers(1, 40)))
def test_ranges_are_a_set(numbers: list[int]) -> None:
    """Whatever the order and the repeats, it holds what was added and names what lies between."""
    ranges = Ranges()
    for number in numbers:
        ranges.add(number)
    there = set(numbers)
    assert all((number in ranges) == (number in there) for number in range(1, 45))
    assert ranges.top == max(there, default=0)
    missing = {n for first, last in ranges.holes() for n in range(first, last + 1)}
    assert missing == set(range(1, ranges.top + 1)) - there


def test_a_jump_is_told_and_asked_for_until_it_is_filled() -> None:
    """The hole is known at once; what comes late closes it."""
    holes = Holes()
    assert holes.have("g:tea", 1, 0.0, "seq") == []
    assert holes.have("g:tea", 4, 0.0, "seq") == [Hole("g:tea", 2, 3, "seq")]
    assert holes.due(0.0) == [(Hole("g:tea", 2, 3, "seq"), False)]
    assert holes.due(AGAIN_S / 2) == []
    holes.have("g:tea", 2, 1.0, "history")
    assert holes.due(AGAIN_S) == [(Hole("g:tea", 2, 3, "seq"), False)]
    holes.have("g:tea", 3, 1.0, "history")
    assert holes.due(10 * AGAIN_S) == []
    assert holes.all() == []


def test_a_delivery_that_passes_a_lost_one_tells_of_it() -> None:
    """Also below an own message, whose `sent` may come before deliveries of what stands before it."""
    holes = Holes()
    holes.have("g:tea", 1, 0.0, "seq")
    holes.have_sent("g:tea", 6, 0.0)
    assert holes.have("g:tea", 2, 0.0, "seq") == []
    assert holes.have("g:tea", 4, 0.0, "seq") == [Hole("g:tea", 2, 5, "seq")]
    assert holes.have("g:tea", 5, 0.0, "seq") == []


def test_a_jump_past_a_hole_below_an_own_message_tells_of_both() -> None:
    """The one was given time until a delivery passed it by; the other shows with that delivery."""
    holes = Holes()
    holes.have("g:tea", 1, 0.0, "seq")
    holes.have_sent("g:tea", 4, 0.0)
    assert holes.have("g:tea", 7, 0.0, "seq") == [Hole("g:tea", 2, 3, "seq"), Hole("g:tea", 5, 6, "seq")]
    assert holes.due(0.0) == [(Hole("g:tea", 2, 3, "seq"), False), (Hole("g:tea", 5, 6, "seq"), False)]


def test_a_head_is_given_time_to_be_delivered() -> None:
    """Only a delivery that is still missing after a while counts as a lost tail."""
    holes = Holes()
    holes.have("g:tea", 1, 0.0, "seq")
    holes.know_head("g:tea", 3, 0.0)
    assert holes.due(HEAD_PATIENCE_S / 2) == []
    assert holes.due(HEAD_PATIENCE_S) == [(Hole("g:tea", 2, 3, "heads"), True)]
    assert holes.all() == [Hole("g:tea", 2, 3, "heads")]


def test_what_nobody_gives_is_left_to_the_end() -> None:
    """After some tries a hole may be none of this client's business; in the end all are named once more."""
    holes = Holes()
    holes.have("g:tea", 1, 0.0, "seq")
    holes.have("g:tea", 3, 0.0, "seq")
    asked = [holes.due(AGAIN_S * number) for number in range(TRIES + 3)]
    assert sum(map(bool, asked)) == TRIES
    assert holes.all() == [Hole("g:tea", 2, 2, "history")]


def test_an_own_message_may_overtake_what_stands_before_it() -> None:
    """Its place is no hole until the deliveries before it have had their time."""
    holes = Holes()
    holes.have("g:tea", 1, 0.0, "seq")
    holes.have_sent("g:tea", 3, 0.0)
    assert holes.due(HEAD_PATIENCE_S / 2) == []
    assert holes.due(HEAD_PATIENCE_S) == [(Hole("g:tea", 2, 2, "seq"), True)]
    assert holes.have("g:tea", 2, 2.0, "seq") == []
    assert holes.due(10 * AGAIN_S) == []


def test_what_a_delivery_passes_by_is_missing() -> None:
    """A hole that was given time is one as soon as something behind it is delivered."""
    holes = Holes()
    holes.have("g:tea", 1, 0.0, "seq")
    holes.have_sent("g:tea", 3, 0.0)
    assert holes.have("g:tea", 4, 0.1, "seq") == [Hole("g:tea", 2, 2, "seq")]
    assert holes.have("g:tea", 5, 0.2, "seq") == []
    assert holes.due(0.2) == [(Hole("g:tea", 2, 2, "seq"), False)]


def test_a_delivery_may_pass_several_holes_by() -> None:
    """Below two own messages: each is told of, and only once."""
    holes = Holes()
    holes.have("g:tea", 1, 0.0, "seq")
    holes.have_sent("g:tea", 4, 0.0)
    holes.have_sent("g:tea", 7, 0.0)
    told = holes.have("g:tea", 6, 0.1, "seq")
    assert told == [Hole("g:tea", 2, 3, "seq"), Hole("g:tea", 5, 6, "seq")]
    assert holes.have("g:tea", 8, 0.2, "seq") == []
