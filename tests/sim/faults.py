"""What goes wrong in a seed, and the count of what did: all drawn from one random number generator.

A seed does not inject everything at once. It draws which kinds may happen, and how often (swarm
testing): where everything breaks all the time, nothing ever gets far enough to break in a new way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from random import Random
from typing import Final, Literal

__all__ = ["EVENTS", "SEAMS", "SEAM_FAULTS", "Event", "FaultPlan", "SeamFault", "expected_coverage"]

SeamFault = Literal[
    "kill before", "kill after", "pause", "slow", "refused", "unknown lost", "unknown done", "late", "twice"
]
"""What may happen to one call on an engine. `before` and `after`: the effect; `late`: it is done seconds
after the caller was told that nobody knows; `twice`: it is done two times."""
Event = Literal[
    "kill worker", "pause worker", "leave worker", "kill gateway", "pause gateway", "flush table",
    "log away", "table away", "store away", "cut link", "half-open link", "kill client", "quit client",
]  # fmt: skip
"""What happens to a part of the world by itself."""

SEAM_FAULTS: Final[tuple[SeamFault, ...]] = (
    "kill before", "kill after", "pause", "slow", "refused", "unknown lost", "unknown done", "late", "twice",
)  # fmt: skip
EVENTS: Final[tuple[Event, ...]] = (
    "kill worker", "pause worker", "leave worker", "kill gateway", "pause gateway", "flush table",
    "log away", "table away", "store away", "cut link", "half-open link", "kill client", "quit client",
)  # fmt: skip
SEAMS: Final = (
    "publish im.inbound", "publish im.accepted", "publish im.moderation", "publish im.messages",
    "publish im.places", "publish im.receipts", "publish im.presence", "publish im.outbound", "read log",
    "table", "store write", "store read", "commit",
)  # fmt: skip
"""Where a process meets the outside."""
_READS: Final = frozenset({"read log", "store read"})
_ONLY_PUBLISHES: Final = frozenset({"late", "twice"})
_WEIGHTS: Final[dict[SeamFault, int]] = {
    "kill before": 2, "kill after": 3, "pause": 2, "slow": 3, "refused": 3, "unknown lost": 2,
    "unknown done": 3, "late": 2, "twice": 3,
}  # fmt: skip


class FaultPlan:
    """Draws faults until `heal`; counts what happened as "kind" and "kind at seam".

    `only`: nothing but these kinds, in every seed and often.
    """

    def __init__(self, rng: Random, only: Collection[str] = ()) -> None:
        self._rng = rng
        self.happened: Counter[str] = Counter()
        self._rate = rng.choice((0.0, 0.004, 0.012, 0.03)) if not only else 0.03
        kinds = [kind for kind in SEAM_FAULTS if (kind in only if only else rng.random() < 0.6)]
        self._by_seam = {seam: _allowed(kinds, seam) for seam in SEAMS}
        self.events = [event for event in EVENTS if (event in only if only else rng.random() < 0.5)]
        self.events_count = rng.choice((0, 1, 2, 3, 5, 8)) if self.events else 0

    def at_seam(self, seam: str) -> SeamFault | None:
        """What goes wrong with this call, if anything does."""
        if self._rng.random() >= self._rate:
            return None
        kinds = self._by_seam[seam]
        return self._rng.choice(kinds) if kinds else None

    def count(self, what: str) -> None:
        self.happened[what] += 1

    def heal(self) -> None:
        """From now on nothing goes wrong."""
        self._rate = 0.0


def _allowed(kinds: Sequence[SeamFault], seam: str) -> list[SeamFault]:
    """The kinds that make sense here, each as often as its weight."""
    return [kind for kind in kinds if _applies(kind, seam) for _ in range(_WEIGHTS[kind])]


def _applies(kind: SeamFault, seam: str) -> bool:
    if kind in _ONLY_PUBLISHES:
        return seam.startswith("publish")
    if seam == "commit":
        return kind in ("kill before", "kill after", "pause", "slow")
    if kind in ("unknown lost", "unknown done"):
        return seam not in _READS
    return True


def expected_coverage() -> list[str]:
    """Everything that must have happened at least once over many seeds."""
    at_seams = [f"{kind} at {seam}" for seam in SEAMS for kind in SEAM_FAULTS if _applies(kind, seam)]
    return [*EVENTS, *at_seams]
