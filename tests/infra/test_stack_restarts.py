"""infra/stack/restarts.py"""

from __future__ import annotations

from infra.stack.restarts import restart_delay_s


def test_delays_grow_up_to_a_limit_and_then_end() -> None:
    """A child that never holds is given up after a few tries, each later than the one before."""
    delays = [restart_delay_s(quick_exits) for quick_exits in range(8)]

    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, None, None]
