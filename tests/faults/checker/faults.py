"""The windows in which faults were at work, from nemesis.jsonl."""

from __future__ import annotations

from msgspec import Struct

from tests.faults.checker.source import Source
from tests.faults.history import Began, Healed, Held

__all__ = ["Fault", "Faults"]


class Fault(Struct, frozen=True, kw_only=True):
    """One fault. `healed_t` is the end of the run if nothing says otherwise; `evidence` "": it never took
    hold, as far as anybody knows."""

    name: str
    kind: str
    target: str
    began_t: float
    healed_t: float
    evidence: str


class Faults:
    """All faults of a run, in the order in which they began."""

    def __init__(self, source: Source) -> None:
        began: list[Began] = []
        held: dict[str, str] = {}
        healed: dict[str, float] = {}
        for event in source.nemesis_events():
            if isinstance(event, Began):
                began.append(event)
            elif isinstance(event, Held):
                held[event.fault] = event.evidence
            elif isinstance(event, Healed):
                healed[event.fault] = event.t
        ended_t = source.run().ended_t
        self.all = [
            Fault(
                name=event.fault,
                kind=event.kind,
                target=event.target,
                began_t=event.t,
                healed_t=healed.get(event.fault, ended_t),
                evidence=held.get(event.fault, ""),
            )
            for event in sorted(began, key=lambda event: event.t)
        ]

    @property
    def last_healed_t(self) -> float | None:
        return max((fault.healed_t for fault in self.all), default=None)

    @property
    def without_effect(self) -> list[Fault]:
        """Those that never took hold: the run shows nothing about them."""
        return [fault for fault in self.all if not fault.evidence]
