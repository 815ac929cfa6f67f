"""pipeline/dedupe.py"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.dedupe import LONGEST_GAP_MS, Dedupe

A, B = ("d:a:b", "a", "m1"), ("d:a:b", "a", "m2")


def test_a_key_is_seen_up_to_the_end_of_the_window_and_not_after_it() -> None:
    """The window's end belongs to it."""
    dedupe: Dedupe[int] = Dedupe(100, 10)
    dedupe.remember(A, 1, 1_000)
    dedupe.advance(1_100)
    assert dedupe.seen(A) == 1
    dedupe.advance(1_101)
    assert dedupe.seen(A) is None


def test_time_never_falls() -> None:
    """A time that lies back is taken as the newest one."""
    dedupe: Dedupe[int] = Dedupe(100, 10)
    dedupe.remember(A, 1, 1_000)
    dedupe.remember(B, 2, 500)
    dedupe.advance(1_100)
    assert (dedupe.seen(A), dedupe.seen(B)) == (1, 2)


def test_a_time_without_records_counts_for_little() -> None:
    """Who was not answered while everything stood still asks again after it, and is known."""
    dedupe: Dedupe[int] = Dedupe(3 * LONGEST_GAP_MS, 10)
    dedupe.remember(A, 1, 1_000)
    day_ms = 86_400_000
    for day in (1, 2, 3):
        dedupe.advance(day * day_ms)
        assert (dedupe.seen(A), dedupe.age_ms(A)) == (1, day * LONGEST_GAP_MS)
    dedupe.advance(3 * day_ms + 1)
    assert dedupe.seen(A) is None


def test_a_key_that_is_remembered_again_stands_for_its_new_value_and_time() -> None:
    """After the window a client may use an id anew."""
    dedupe: Dedupe[int] = Dedupe(100, 10)
    dedupe.remember(A, 1, 1_000)
    dedupe.remember(A, 2, 1_090)
    dedupe.advance(1_150)
    assert dedupe.seen(A) == 2


def test_parts_of_a_key_are_told_apart() -> None:
    """What stands in one part cannot stand for another."""
    dedupe: Dedupe[int] = Dedupe(100, 10)
    dedupe.remember(("d:a:b", "a", "bm"), 1, 0)
    assert dedupe.seen(("d:a:b", "ab", "m")) is None


def test_the_oldest_go_when_there_are_too_many() -> None:
    """The bound holds, and the newest stay."""
    dedupe: Dedupe[int] = Dedupe(1_000_000, 128)
    for number in range(1_000):
        dedupe.remember(("d:a:b", "a", str(number)), number, number)
        assert len(dedupe) <= 128
    assert dedupe.seen(("d:a:b", "a", "999")) == 999


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60)), max_size=60), st.integers(1, 200))
def test_it_sees_what_a_full_memory_would_see(steps: list[tuple[int, int]], window_ms: int) -> None:
    """At every moment it answers as a memory that forgets nothing would, while the stream runs."""
    dedupe: Dedupe[int] = Dedupe(window_ms, 1_000)
    newest: dict[str, tuple[int, int]] = {}
    now_ms = 0
    for number, (name, passed_ms) in enumerate(steps):
        now_ms += passed_ms
        key = ("d:a:b", "a", str(name))
        dedupe.advance(now_ms)
        at_ms, value = newest.get(str(name), (-window_ms - 1, 0))
        assert dedupe.seen(key) == (value if now_ms - at_ms <= window_ms else None)
        dedupe.remember(key, number, now_ms)
        newest[str(name)] = (now_ms, number)


def test_what_is_forgotten_takes_no_memory() -> None:
    """A long stream holds one window, and at most a slice more."""
    dedupe: Dedupe[int] = Dedupe(640, 1_000_000)
    for number in range(20_000):
        dedupe.remember(("d:a:b", "a", str(number)), number, number)
    assert len(dedupe) <= 640 + 11
