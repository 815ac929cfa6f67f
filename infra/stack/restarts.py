"""When a child that ended is started again, and when it is given up."""

from __future__ import annotations

from typing import Final

__all__ = ["QUICK_EXIT_S", "restart_delay_s"]

QUICK_EXIT_S: Final = 30.0
"""A child that lived at least this long starts with a clean slate."""
FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 5.0
QUICK_EXITS: Final = 5
FAILED_STARTS: Final = 40
"""Who could start before and cannot now waits for an engine, most likely: three minutes and more."""


def restart_delay_s(quick_exits: int, failed_starts: int) -> float | None:
    """How long to wait after that many lives in a row that ended quickly, and that many starts since the last
    of them that came to nothing; None: restarting does not help, give up."""
    if quick_exits > QUICK_EXITS or failed_starts > FAILED_STARTS:
        return None
    return min(FIRST_DELAY_S * 2.0 ** (quick_exits + failed_starts), LONGEST_DELAY_S)
