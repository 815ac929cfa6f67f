"""What a check comes to: for each invariant how much was looked at, and the first witness of each anomaly."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from msgspec import Struct

__all__ = ["INVARIANTS", "Anomaly", "Findings", "Invariant"]

INVARIANTS: Final = {
    "I1": "accepted means kept: sent is one row under one seq, refused is none, unknown is at most one",
    "I2": "everyone who is a member at a message's place sees it, and sees it once after dedupe",
    "I3": "one order: seq 1..n without hole or repeat, the same for everyone, as each sender sent",
    "I4": "no client sees seq go back, or jump without being told of the gap",
    "I5": "nothing outside a membership, after a block, or of a content after its recall",
    "I6": "no byte of private traffic with anybody else",
    "I7": "a replay changes neither tables nor views",
    "I8": "a cursor never comes back smaller, and what follows it is exactly what comes",
    "I9": "every inbound record ends: sequenced, rejected, dead-lettered or known as a repeat",
    "I10": "no stall: every group reaches its end soon after the last fault heals",
    "I11": "rejected content is nowhere but in im.inbound",
    "I12": "ephemeral frames are never persisted, never misrouted",
    "I13": "nobody is left behind: every send is answered soon after the last fault, every reader returns",
}
CORE: Final = ("I1", "I2", "I3", "I4", "I9")
"""A run that gave these nothing to look at shows nothing."""


class Anomaly(Struct, frozen=True, kw_only=True):
    """One way in which an invariant broke: how often, and where first."""

    name: str
    count: int
    witness: dict[str, Any]


class Invariant(Struct, frozen=True, kw_only=True):
    """`looked_at` 0: the run says nothing about it."""

    id: str
    says: str
    looked_at: int
    broken: int
    anomalies: list[Anomaly]


class Findings:
    """Collects while the passes run. Of each anomaly the witness with the smallest `t` is kept; one without
    a time comes before all that have one."""

    def __init__(self) -> None:
        self._looked_at: Counter[str] = Counter()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._witnesses: dict[tuple[str, str], dict[str, Any]] = {}

    def looked_at(self, invariant: str, count: int = 1) -> None:
        self._looked_at[invariant] += count

    def add(self, invariant: str, anomaly: str, **witness: Any) -> None:
        """Count an anomaly; `witness` is all an engineer needs to go on: ids, places and times."""
        key = (invariant, anomaly)
        self._counts[key] += 1
        kept = self._witnesses.get(key)
        if kept is None or witness.get("t", 0.0) < kept.get("t", 0.0):
            self._witnesses[key] = witness

    def result(self) -> list[Invariant]:
        """Every invariant, in the order of the table."""
        return [self._invariant(name, says) for name, says in INVARIANTS.items()]

    def _invariant(self, name: str, says: str) -> Invariant:
        anomalies = [
            Anomaly(name=anomaly, count=count, witness=self._witnesses[invariant, anomaly])
            for (invariant, anomaly), count in self._counts.items()
            if invariant == name
        ]
        return Invariant(
            id=name,
            says=says,
            looked_at=self._looked_at[name],
            broken=sum(anomaly.count for anomaly in anomalies),
            anomalies=anomalies,
        )
