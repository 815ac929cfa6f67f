"""Meters with the time passed in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.meters import Meters
from gateway.throttle import UNLIMITED, Rate


def test_a_meter_gives_its_burst_then_its_rate() -> None:
    """After the burst the wait is told in milliseconds, and waiting that long is enough."""
    meters = Meters(Rate(per_s=10, burst=3))
    assert [meters.take("a", 100.0) for _ in range(3)] == [0, 0, 0]
    wait_ms = meters.take("a", 100.0)
    assert 0 < wait_ms <= 101
    assert meters.take("a", 100.0 + wait_ms / 1000) == 0


@given(st.lists(st.floats(0, 2), max_size=200))
def test_no_more_than_burst_and_rate_pass(gaps: list[float]) -> None:
    """Over any stretch of time at most burst + rate × time pass, and what waits is not counted."""
    meters, now, passed = Meters(Rate(per_s=5, burst=4)), 0.0, 0
    for gap in gaps:
        now += gap
        passed += meters.take("a", now) == 0
    assert passed <= 4 + 5 * now + 1e-6


def test_too_many_tries_in_a_window_are_seen_whether_or_not_they_pass() -> None:
    """Up to the count nothing is said; the next one is too many, and begins a new count."""
    meters = Meters(Rate(per_s=1, burst=1), window=Rate(per_s=10 / 60, burst=10))
    meter = meters.of("a")
    assert not any(meters.tried(meter, 0.0) for _ in range(10))
    assert meters.tried(meter, 0.0)
    assert not any(meters.tried(meter, 0.0) for _ in range(10))
    assert meters.tried(meter, 0.0)


def test_slow_tries_are_never_too_many() -> None:
    """The count decays."""
    meters = Meters(UNLIMITED, window=Rate(per_s=10 / 60, burst=10))
    meter = meters.of("a")
    assert not any(meters.tried(meter, 6.01 * number) for number in range(1_000))


def test_unlimited_never_waits() -> None:
    """Neither at a rate nor in a window."""
    meters = Meters(UNLIMITED)
    assert not any(meters.take("a", 0.0) for _ in range(10_000))
    assert not any(meters.tried(meters.of("a"), 0.0) for _ in range(10_000))


def test_keys_do_not_share_a_meter_and_meters_are_bounded() -> None:
    """One busy user does not slow another; those not used for longest are forgotten."""
    meters = Meters(Rate(per_s=1, burst=1), max_keys=4)
    assert [meters.take(key, 0.0) for key in "abc"] == [0, 0, 0]
    assert meters.take("a", 0.0) > 0
    assert meters.take("d", 0.0) == 0
    assert meters.take("a", 0.0) > 0
    assert meters.take("b", 0.0) == 0
    assert len(meters._young) + len(meters._old) <= 4
