"""How often a client must be heard: what it asks for within bounds, less often where many are, and never in
step with the others. Pure."""

from __future__ import annotations

from typing import Final
from zlib import crc32

__all__ = ["LEAST_S", "MOST_S", "SPREAD", "agree"]

LEAST_S: Final = 5
MOST_S: Final = 300
"""What a client may ask for: mobile networks forget a silent connection after some five minutes."""
SPREAD: Final = 0.2
"""Of a heartbeat: clients that came at once, as after a cut, say their pings apart after a few rounds."""
_PINGS_PER_S: Final = 1_000
"""Of all sessions of a gateway. Chosen, not measured: below 30,000 sessions it changes nothing."""


def agree(usual_s: int, asked_s: int | None, sessions: int, session_id: str) -> int:
    """The heartbeat of a new session, in whole seconds, on a gateway that has so many."""
    wanted_s = usual_s if asked_s is None else min(max(asked_s, LEAST_S), MOST_S)
    longest_s = max(wanted_s, min(sessions // _PINGS_PER_S, MOST_S))
    share = crc32(session_id.encode()) / 2**32
    return max(1, round(longest_s * (1 - SPREAD * share)))
