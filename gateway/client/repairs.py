"""Which conversations have a hole, when to ask for what is missing, and when to stop asking. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Repairs"]

GRACE_S: Final = 0.3
"""A hole often closes by itself: `sent` may overtake a delivery, a head may be told before its message."""
RETRY_S: Final = 0.5
LONGEST_RETRY_S: Final = 5.0
TRIES: Final = 5
"""When the history has what lies beyond the hole: with the waits between the tries this is 15 s."""
PATIENT_TRIES: Final = 120
"""When it has nothing from the hole on, or cannot be read: it lags behind `sent` by the storing time, and by
as long as the store is away. Ten minutes."""


@dataclass(slots=True)
class _Repair:
    due: float
    level: int
    tries: int = 0
    asked: bool = False


class Repairs:
    """Asks for each hole after a moment's grace, again while it shrinks, and for a while when it does not."""

    def __init__(self) -> None:
        self._repairs: dict[str, _Repair] = {}

    def seen(self, conversation_id: str, level: int | None, now: float) -> None:
        """There is a hole after `level`; one that is known already keeps its place."""
        self._repairs.setdefault(conversation_id, _Repair(now + GRACE_S, -1 if level is None else level))

    def unknown(self, conversation_id: str, now: float) -> None:
        """There are messages, and nobody knows where their conversation begins: that closes by no waiting."""
        self._repairs.setdefault(conversation_id, _Repair(now, -1))

    def __len__(self) -> int:
        """How many there are, whether their time has come or not."""
        return len(self._repairs)

    def closed(self, conversation_id: str) -> None:
        """The hole is no more."""
        self._repairs.pop(conversation_id, None)

    def answered(self, conversation_id: str, level: int | None, empty: bool, now: float) -> bool:
        """A page came, or none, and the hole is still there, now after `level`. False: asking again is of no
        use. `empty`: it showed nothing from the hole on."""
        repair = self._repairs[conversation_id]
        repair.asked = False
        if level is not None and level > repair.level:
            repair.level, repair.tries, repair.due = level, 0, now
            return True
        repair.tries += 1
        repair.due = now + min(RETRY_S * 2.0 ** (repair.tries - 1), LONGEST_RETRY_S)
        return repair.tries < (PATIENT_TRIES if empty else TRIES)

    def disconnected(self, now: float) -> None:
        """Questions that were open are open again."""
        for repair in self._repairs.values():
            repair.asked = False
            repair.due = max(repair.due, now)

    def take_due(self, now: float) -> Iterator[str]:
        """The conversations whose missing messages are to be asked for now."""
        for conversation_id, repair in list(self._repairs.items()):
            if not repair.asked and repair.due <= now:
                repair.asked = True
                yield conversation_id

    def next_due(self) -> float | None:
        return min((repair.due for repair in self._repairs.values() if not repair.asked), default=None)
