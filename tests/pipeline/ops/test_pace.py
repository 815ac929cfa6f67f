"""pipeline/ops/pace.py"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ops.replay.pace import Pace


@given(st.integers(1, 50_000), st.lists(st.tuples(st.integers(1, 5_000), st.floats(0, 3)), max_size=40))
def test_the_average_is_never_above_the_rate(rate: int, steps: list[tuple[int, float]]) -> None:
    """Whoever waits as told takes at most the rate, and a quarter of a second's worth more."""
    now, taken = 0.0, 0
    pace = Pace(rate, now)
    for count, idle_s in steps:
        now += idle_s
        now += pace.wait_s(count, now)
        taken += count
        assert taken <= rate * now + pace.burst + count + 1e-6 * taken


def test_a_steady_reader_gets_the_whole_rate() -> None:
    """A hundred steps of ten at a hundred a second last ten seconds."""
    pace, now = Pace(100, 0.0), 0.0
    for _ in range(100):
        now += pace.wait_s(10, now)
    assert 9.5 < now < 10.1


def test_no_rate_is_no_limit() -> None:
    """Zero means as fast as it goes."""
    assert Pace(0, 0.0).wait_s(10**9, 0.0) == 0.0
