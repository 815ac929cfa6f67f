"""infra/stack/restarts.py"""

from __future__ import annotations

from infra.stack.restarts import restart_delay_s


def test_delays_grow_up_to_a_limit_and_then_end() -> None:
    """A child that never holds is given up after a few tries, each later than the one before."""
    delays = [restart_delay_s(quick_exits, 0) for quick_exits in range(8)]

    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, None, None]


def test_who_cannot_start_any_more_is_given_minutes() -> None:
    """What it needs may be away; but not for ever."""
    delays = [restart_delay_s(1, failed_starts) for failed_starts in range(42)]

    assert delays[:5] == [0.4, 0.8, 1.6, 3.2, 5.0]
    assert delays[40:] == [5.0, None]
    assert sum(delay for delay in delays if delay is not None) > 180
