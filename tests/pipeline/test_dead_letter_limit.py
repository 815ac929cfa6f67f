"""pipeline/dead_letter_limit.py"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infra.ports import Record
from pipeline.dead_letter_limit import DeadLetterLimit
from tests.builders import a_record

WINDOW_S = 60.0


def a_limit(**bounds: float) -> DeadLetterLimit:
    given = {"max_ratio": 1.0, "window_s": WINDOW_S, "min_records": 100, "max_consecutive": 1_000} | bounds
    return DeadLetterLimit(
        given["max_ratio"], given["window_s"], int(given["min_records"]), int(given["max_consecutive"])
    )


def batch(first: int, count: int, partition: int = 0) -> list[Record]:
    return [a_record(b"", offset, partition=partition) for offset in range(first, first + count)]


def test_failures_in_a_row_count_across_batches() -> None:
    """Ten are borne, the eleventh is not, in however many batches they come."""
    limit = a_limit(max_consecutive=10)
    for offset in range(10):
        assert limit.take(batch(offset, 1), [offset], 0.0) is None
    reason = limit.take(batch(10, 1), [10], 0.0)
    assert reason is not None
    assert "11 records in a row" in reason
    assert "im.messages[0]@10" in reason


def test_one_that_is_handled_ends_the_row() -> None:
    """Also in the middle of a batch."""
    limit = a_limit(max_consecutive=10)
    assert limit.take(batch(0, 8), range(8), 0.0) is None
    assert limit.take(batch(8, 13), [8, 9, *range(11, 21)], 0.0) is None
    assert limit.take(batch(21, 1), [21], 0.0) is not None


def test_partitions_have_rows_of_their_own() -> None:
    """A healthy partition does not hide a sick one."""
    limit = a_limit(max_consecutive=3)
    for offset in range(3):
        assert limit.take(batch(offset, 1), [offset], 0.0) is None
        assert limit.take(batch(offset, 1, partition=1), [], 0.0) is None
    assert limit.take(batch(3, 1), [3], 0.0) is not None


def test_a_share_counts_only_among_enough_records() -> None:
    """Three bad ones of the first ten stop nobody; thirty of a hundred do."""
    limit = a_limit(max_ratio=0.25)
    for first in range(0, 90, 10):
        assert limit.take(batch(first, 10), range(first, first + 3), 0.0) is None
    reason = limit.take(batch(90, 10), range(90, 93), 0.0)
    assert reason is not None
    assert "30 of 100 records" in reason


def test_what_is_older_than_the_window_is_forgotten() -> None:
    """The same failures, spread over more than a minute, are borne."""
    limit = a_limit(max_ratio=0.25)
    assert limit.take(batch(0, 100), range(25), 0.0) is None
    assert limit.take(batch(100, 100), range(100, 125), WINDOW_S) is None
    assert limit.take(batch(200, 100), range(200, 226), 2 * WINDOW_S) is not None


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=30), max_size=30), st.integers(1, 8))
def test_it_stops_at_the_first_row_that_is_too_long(batches: list[list[bool]], longest: int) -> None:
    """Whatever the batches: exactly when a plain count over all records would."""
    limit = a_limit(max_consecutive=longest)
    offset = run = 0
    for fates in batches:
        records = batch(offset, len(fates))
        failed = [record.offset for record, bad in zip(records, fates, strict=True) if bad]
        runs = []
        for bad in fates:
            run = run + 1 if bad else 0
            runs.append(run)
        assert (limit.take(records, failed, 0.0) is not None) == (max(runs) > longest)
        offset += len(fates)
