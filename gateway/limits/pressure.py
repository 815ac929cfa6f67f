"""How close a gateway is to what it can carry, and what it refuses then. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from gateway.limits.priority import Priority

__all__ = ["STEPS", "Bounds", "Pressure", "Snapshot"]

STEPS: Final[tuple[tuple[float, Priority | None], ...]] = (
    (0.70, None),
    (0.75, Priority.BROADCAST),
    (0.80, Priority.CHANNEL),
    (0.85, Priority.GROUP),
    (0.92, Priority.DIRECT),
    (1.00, Priority.CONTROL),
)
"""From which fill on what is refused; None: connects. The newest first, then the least important."""
RELEASE: Final = 0.10
"""A step is taken back this much below where it began, so that it does not flicker."""
LAG_SAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class Bounds:
    """Full."""

    memory_bytes: int
    lag_s: float
    backlog_records: int
    backlog_bytes: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How things stand: memory of the process, how late its loop was, what waits for the log and how long."""

    memory_bytes: int = 0
    lag_s: float = 0.0
    backlog_records: int = 0
    backlog_bytes: int = 0
    waiting_s: float = 0.0


class Pressure:
    """Turns snapshots into a level: 0 refuses nothing, each step refuses one thing more."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._lags: deque[float] = deque([0.0] * LAG_SAMPLES, maxlen=LAG_SAMPLES)
        self.level = 0

    def observe(self, seen: Snapshot) -> None:
        """Take a step at once, take one back only when it is clearly over.

        Of the lag the least of the last five counts: a pause of the collector is no overload.
        """
        self._lags.append(seen.lag_s)
        fill = max(
            seen.memory_bytes / self._bounds.memory_bytes,
            min(self._lags) / self._bounds.lag_s,
            seen.backlog_records / self._bounds.backlog_records,
            seen.backlog_bytes / self._bounds.backlog_bytes,
        )
        reached = sum(fill >= begins for begins, _ in STEPS)
        kept = sum(fill >= begins - RELEASE for begins, _ in STEPS)
        self.level = max(reached, min(self.level, kept))

    @property
    def refuses_connects(self) -> bool:
        return self.level > 0

    def refuses(self, priority: Priority) -> bool:
        """Whether a send of this priority is refused."""
        return self.level > len(STEPS) - 1 - priority
