"""Token buckets with the time passed in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.throttle import UNLIMITED, Rate, TokenBucket


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    """After the burst the wait is told in milliseconds, and waiting that long is enough."""
    rate = Rate(per_s=10, burst=3)
    bucket = TokenBucket(rate, 0.0)
    assert [bucket.take(rate, 0.0) for _ in range(3)] == [0, 0, 0]
    wait_ms = bucket.take(rate, 0.0)
    assert wait_ms > 0
    assert bucket.take(rate, wait_ms / 1000) == 0


@given(st.lists(st.floats(0, 2), max_size=200))
def test_no_more_than_burst_and_rate_pass(gaps: list[float]) -> None:
    """Over any stretch of time at most burst + rate × time takes succeed."""
    rate, now, passed = Rate(per_s=5, burst=4), 0.0, 0
    bucket = TokenBucket(rate, now)
    for gap in gaps:
        now += gap
        passed += bucket.take(rate, now) == 0
    assert passed <= 4 + 5 * now + 1e-6


def test_a_clock_that_steps_back_gives_nothing() -> None:
    """Time that falls adds no tokens and takes none."""
    rate = Rate(per_s=1, burst=1)
    bucket = TokenBucket(rate, 10.0)
    assert bucket.take(rate, 10.0) == 0
    assert bucket.take(rate, 5.0) > 0


def test_unlimited_never_waits() -> None:
    """IM_LIMITS=off lifts every limit."""
    bucket = TokenBucket(UNLIMITED, 0.0)
    assert not any(bucket.take(UNLIMITED, 0.0) for _ in range(10_000))
