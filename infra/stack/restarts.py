"""When a child that ended is started again, and when it is given up."""

from __future__ import annotations

from typing import Final

__all__ = ["QUICK_EXIT_S", "restart_delay_s"]

QUICK_EXIT_S: Final = 30.0
"""A child that lived at least this long starts with a clean slate."""
FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 5.0
QUICK_EXITS: Final = 5


def restart_delay_s(quick_exits: int) -> float | None:
    """How long to wait after that many quick exits in a row; None: restarting does not help, give up."""
    if quick_exits > QUICK_EXITS:
        return None
    return min(FIRST_DELAY_S * 2.0**quick_exits, LONGEST_DELAY_S)
