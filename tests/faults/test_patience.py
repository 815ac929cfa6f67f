"""checker/patience.py and yardstick.py: seconds that are longer on a busy machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.checker.patience import Patience
from tests.faults.dumps import Pace
from tests.faults.specimen.memory import MemoryHistory
from tests.faults.yardstick import measure


def patience(*paces: tuple[float, float]) -> Patience:
    told = MemoryHistory()
    told.others["pace"] += [Pace(t=t, slowdown=slowdown) for t, slowdown in paces]
    return Patience(told)


def test_without_measurements_a_second_is_a_second() -> None:
    """As for histories that were written before anybody measured."""
    assert patience().after(100.0, 30.0) == 130.0
    assert patience().slowdown(0.5) == 1.0
    assert patience((0.0, 2.0)).after(float("inf"), 30.0) == float("inf")


@pytest.mark.parametrize(
    ("begins", "ends"), [(0.0, 30.0), (100.0, 160.0), (80.0, 120.0), (205.0, 235.0), (195.0, 227.5)]
)
def test_seconds_are_as_long_as_work_was_slow(begins: float, ends: float) -> None:
    """Twice as slow between 100 and 200: of 30 s, those that fall there take 60."""
    assert patience((50.0, 1.0), (100.0, 2.0), (200.0, 1.0)).after(begins, 30.0) == pytest.approx(ends)


@given(
    st.lists(st.tuples(st.floats(0.1, 50.0), st.floats(1.0, 40.0)), max_size=10),
    st.floats(0.0, 300.0),
    st.floats(0.0, 60.0),
)
def test_patience_is_never_shorter_than_the_clock(
    steps: list[tuple[float, float]], begins: float, seconds: float
) -> None:
    """Nor endless: never longer than at the worst of what was measured."""
    t, paces = 0.0, []
    for passed, slowdown in steps:
        t += passed
        paces.append((t, slowdown))
    due = patience(*paces).after(begins, seconds)
    worst = max((slowdown for _, slowdown in paces), default=1.0)
    assert begins + seconds - 1e-6 <= due <= begins + seconds * worst + 1e-6


def test_a_measurement_is_at_least_one() -> None:
    """Nothing is done faster than its own processor time."""
    assert measure() >= 1.0
