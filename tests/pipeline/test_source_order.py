"""Dropping repeats by a number that must rise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.source_order import SourceOrder


@given(st.lists(st.integers(0, 30)))
def test_what_passes_rises_strictly(offsets: list[int]) -> None:
    """Whatever comes, what is kept is strictly rising and misses nothing that rose."""
    order = SourceOrder()
    kept = [offset for offset in offsets if not order.is_repeat(0, offset)]
    highest = [o for i, o in enumerate(offsets) if o > max(offsets[:i], default=-1)]
    assert kept == highest


def test_partitions_do_not_know_of_each_other() -> None:
    """An offset in one partition says nothing about another."""
    order = SourceOrder()
    order.resume(0, 10)
    assert order.is_repeat(0, 10)
    assert not order.is_repeat(1, 10)
    order.forget(0)
    assert not order.is_repeat(0, 10)
