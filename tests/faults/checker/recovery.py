"""How long it takes until everything works again: clients that lost their connection, and the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from tests.faults.checker.faults import Fault, Faults
from tests.faults.checker.progress import Progress
from tests.faults.history import Closed, Welcome

__all__ = ["Recovery", "Returns", "recoveries"]

_AFTER_S: Final = 5.0
"""How long after the healing a lost connection still belongs to the fault."""


class Recovery(Struct, frozen=True, kw_only=True):
    """After one fault. None: nothing was seen of it.

    `returned`: raw clients that lost their connection, and how long each was without one. `first_stored_s`,
    `drained_s`: from the healing until the history took something again, and until it had all that the log
    held at the healing; offsets are sampled about once a second.
    """

    fault: str
    kind: str
    returned: int
    returned_p50_ms: float | None
    returned_p99_ms: float | None
    first_stored_s: float | None
    drained_s: float | None


class Returns:
    """Pairs what ended with what came after it, for every client that logs its connections."""

    def __init__(self) -> None:
        self._lost: dict[str, float] = {}
        self._absences: list[tuple[float, float]] = []

    def take_closed(self, event: Closed) -> None:
        self._lost.setdefault(event.client, event.t)

    def take_welcome(self, event: Welcome) -> None:
        lost_t = self._lost.pop(event.client, None)
        if lost_t is not None:
            self._absences.append((lost_t, event.t - lost_t))

    def during(self, begin_t: float, end_t: float) -> list[float]:
        """How long each absence lasted that began then, ascending."""
        return sorted(lasted for lost_t, lasted in self._absences if begin_t <= lost_t <= end_t)


def recoveries(faults: Faults, returns: Returns, progress: Progress) -> list[Recovery]:
    """One for each fault."""
    return [_recovery(fault, returns, progress) for fault in faults.all]


def _recovery(fault: Fault, returns: Returns, progress: Progress) -> Recovery:
    absences = returns.during(fault.began_t, fault.healed_t + _AFTER_S)
    first_stored_t, drained_t = progress.storing_after(fault.healed_t)
    return Recovery(
        fault=fault.name,
        kind=fault.kind,
        returned=len(absences),
        returned_p50_ms=_at(absences, 0.5),
        returned_p99_ms=_at(absences, 0.99),
        first_stored_s=_since(fault.healed_t, first_stored_t),
        drained_s=_since(fault.healed_t, drained_t),
    )


def _at(ascending: Sequence[float], share: float) -> float | None:
    if not ascending:
        return None
    return round(1000 * ascending[min(int(share * len(ascending)), len(ascending) - 1)], 1)


def _since(begin_t: float, t: float | None) -> float | None:
    return None if t is None else round(t - begin_t, 2)
