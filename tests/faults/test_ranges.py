"""A set of ranges is a set of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.checker.ranges import Ranges


@given(st.lists(st.integers(1, 40)), st.integers(1, 40), st.integers(1, 40))
def test_ranges_are_a_set(seqs: list[int], first: int, last: int) -> None:
    """What is added is in it, once; what is missing from a range is what was not added."""
    ranges, model = Ranges(), set[int]()
    for seq in seqs:
        assert ranges.add(seq) is (seq not in model)
        model.add(seq)
    assert [seq for seq in range(1, 41) if seq in ranges] == sorted(model)
    assert list(ranges.missing(first, last)) == [s for s in range(first, last + 1) if s not in model]


@given(st.lists(st.integers(1, 40)), st.integers(1, 40), st.integers(1, 40))
def test_a_range_is_added_as_its_numbers(seqs: list[int], first: int, last: int) -> None:
    """Adding a range leaves nothing of it missing, and changes nothing outside it."""
    ranges = Ranges()
    for seq in seqs:
        ranges.add(seq)
    ranges.add_range(first, last)
    assert [seq for seq in range(1, 41) if seq in ranges] == sorted({*seqs, *range(first, last + 1)})
