"""What is refused when."""

from __future__ import annotations

import pytest

from gateway.limits.pressure import STEPS, Bounds, Pressure, Snapshot
from gateway.limits.priority import Priority

BOUNDS = Bounds(memory_bytes=1_000, lag_s=1.0, backlog_records=1_000, backlog_bytes=1_000)


def refused(pressure: Pressure) -> list[str]:
    return ["connects"] * pressure.refuses_connects + [
        p.name for p in reversed(Priority) if pressure.refuses(p)
    ]


@pytest.mark.parametrize(
    ("fill", "wanted"),
    [
        (0.69, []),
        (0.70, ["connects"]),
        (0.76, ["connects", "BROADCAST"]),
        (0.81, ["connects", "BROADCAST", "CHANNEL"]),
        (0.86, ["connects", "BROADCAST", "CHANNEL", "GROUP"]),
        (0.93, ["connects", "BROADCAST", "CHANNEL", "GROUP", "DIRECT"]),
        (1.00, ["connects", "BROADCAST", "CHANNEL", "GROUP", "DIRECT", "CONTROL"]),
    ],
)
@pytest.mark.parametrize("what", ["memory_bytes", "backlog_records", "backlog_bytes"])
def test_the_newest_and_least_important_is_refused_first(what: str, fill: float, wanted: list[str]) -> None:
    """Connects, then sends by priority; any one of the bounds is enough."""
    pressure = Pressure(BOUNDS)
    pressure.observe(Snapshot(**{what: int(1_000 * fill)}))
    assert refused(pressure) == wanted


def test_a_step_is_taken_back_only_when_it_is_clearly_over() -> None:
    """Around a bound nothing flickers."""
    pressure = Pressure(BOUNDS)
    levels = []
    for records in (750, 740, 700, 660, 640, 590):
        pressure.observe(Snapshot(backlog_records=records))
        levels.append(pressure.level)
    assert levels == [2, 2, 2, 2, 1, 0]


def test_one_late_turn_of_the_loop_is_no_overload() -> None:
    """Five in a row are."""
    pressure = Pressure(BOUNDS)
    levels = []
    for lag_s in (3.0, 0.0, 3.0, 3.0, 3.0, 3.0, 3.0, 0.0):
        pressure.observe(Snapshot(lag_s=lag_s))
        levels.append(pressure.level)
    assert levels == [0, 0, 0, 0, 0, 0, len(STEPS), 0]
