"""infra/cassandra/digest.py: what is pure in it"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from infra.cassandra.digest import ring_ranges, row_digest


@given(st.integers(1, 200))
def test_the_ranges_are_the_ring(count: int) -> None:
    """No token lies in two of them, and none in none."""
    ranges = list(ring_ranges(count))
    assert len(ranges) == count
    assert ranges[0][0] == -(2**63)
    assert ranges[-1][1] == 2**63 - 1
    assert all(low < high for low, high in ranges)
    assert all(one[1] == other[0] for one, other in pairwise(ranges))


@given(st.tuples(st.text(), st.integers()), st.tuples(st.text(), st.integers()))
def test_rows_have_the_same_digest_only_if_they_are_the_same(
    one: tuple[str, int], other: tuple[str, int]
) -> None:
    """Also values that look alike once they are put together."""
    assert (row_digest(one) == row_digest(other)) == (one == other)
    assert row_digest(("a", "bc")) != row_digest(("ab", "c"))
    assert row_digest((None,)) != row_digest(("None",))
