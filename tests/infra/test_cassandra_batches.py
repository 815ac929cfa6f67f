"""infra/cassandra/batches.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.cassandra.batches import batches_of
from infra.cassandra.binding import MAX_WRITE_BYTES, Write
from schemas.errors import BadInput


def a_write(partition: str, size: int = 10) -> Write:
    return Write("insert_message", (b"x" * size,), (partition.encode(),))


def one_place(_: Write) -> None:
    return None


def partitions(batches: list[list[Write]]) -> list[str]:
    return ["".join(write.partition[0].decode() for write in batch) for batch in batches]


def test_rows_of_one_partition_are_neighbours() -> None:
    """Cassandra makes one mutation of them."""
    writes = [a_write(name) for name in "abcabc"]
    assert partitions(batches_of(writes, one_place, 4, 1_000)) == ["aabb", "cc"]


def test_a_batch_stays_within_one_place() -> None:
    """Or its coordinator would only pass rows on."""
    writes = [a_write(name) for name in "abab"]
    assert partitions(batches_of(writes, lambda write: write.partition, 10, 1_000)) == ["aa", "bb"]


def test_a_batch_is_bounded_in_bytes() -> None:
    """Whatever number of rows that is."""
    writes = [a_write("a", 40) for _ in range(5)]
    assert partitions(batches_of(writes, one_place, 10, 100)) == ["aa", "aa", "a"]


def test_a_row_above_the_bound_goes_alone() -> None:
    """It is stored all the same."""
    writes = [a_write("a"), a_write("b", 500), a_write("c")]
    assert partitions(batches_of(writes, one_place, 10, 100)) == ["a", "b", "c"]


def test_a_row_that_nobody_can_store_is_named() -> None:
    """Before anything is sent."""
    with pytest.raises(BadInput, match=f"insert_message of big: {MAX_WRITE_BYTES + 1} bytes"):
        batches_of([a_write("a"), a_write("big", MAX_WRITE_BYTES + 1)], one_place, 10, 100)


def test_nothing_makes_no_batch() -> None:
    """An empty batch would be a request for nothing."""
    assert batches_of([], one_place, 10, 100) == []


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 200))), st.integers(1, 5), st.integers(50, 300)
)
def test_each_write_is_in_one_batch_and_each_batch_within_its_bounds(
    drawn: list[tuple[str, int]], max_rows: int, max_bytes: int
) -> None:
    """Whatever comes in whatever order; rows of one partition keep theirs."""
    writes = [a_write(name, size) for name, size in drawn]
    batches = batches_of(writes, one_place, max_rows, max_bytes)
    sent = [write for batch in batches for write in batch]
    for key in [(name.encode(),) for name in "abcd"]:
        assert [each for each in sent if each.partition == key] == [w for w in writes if w.partition == key]
    for batch in batches:
        assert len(batch) <= max_rows
        assert len(batch) == 1 or sum(write.size_bytes for write in batch) <= max_bytes
