"""What a client has of each conversation, what it knows to be missing, and when to ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from tests.faults.workload.ranges import Ranges

__all__ = ["Hole", "Holes"]

HEAD_PATIENCE_S: Final = 1.5
"""A head may run ahead of the delivery that it speaks of."""
AGAIN_S: Final = 1.0
"""History may lag behind by the storing time."""
TRIES: Final = 8
"""Then it is left until everything is asked for in the end: it may be none of this client's business."""


class Hole(NamedTuple):
    conversation: str
    first: int
    last: int
    by: str


@dataclass(slots=True)
class _Known:
    hole: Hole
    due_at: float
    tries: int = 0
    told: bool = False


class Holes:
    """Pure: who uses it asks the server and says what came."""

    def __init__(self) -> None:
        self._have: dict[str, Ranges] = {}
        self._heads: dict[str, int] = {}
        self._known: list[_Known] = []

    def conversations(self) -> list[str]:
        return list(self._have)

    def top(self, conversation: str) -> int:
        return self._have[conversation].top if conversation in self._have else 0

    def have(self, conversation: str, seq: int, now: float, by: str) -> list[Hole]:
        """A message came. Returns the holes that it shows: what it jumps over, or what was given time until
        now and it has passed by: deliveries come in order."""
        ranges = self._have.setdefault(conversation, Ranges())
        top = ranges.top
        ranges.add(seq)
        if top and seq == top + 1:
            return self._passed_by(conversation, now, seq)
        if not top:
            return []
        if seq <= top:
            return self._passed_by(conversation, now, seq) if by == "seq" else []
        passed = self._passed_by(conversation, now, seq)
        hole = Hole(conversation, top + 1, seq - 1, by)
        self._known.append(_Known(hole, now, told=True))
        return [*passed, hole]

    def _passed_by(self, conversation: str, now: float, before: int) -> list[Hole]:
        """The holes of this conversation below `before` that nobody was told of yet; from now on they are
        asked for."""
        passed = []
        for known in self._known:
            hole = known.hole
            below = hole._replace(last=min(hole.last, before - 1))
            if hole.conversation == conversation and not known.told and not self._closed(below):
                known.told, known.due_at = True, now
                passed.append(hole)
        return passed

    def have_sent(self, conversation: str, seq: int, now: float) -> None:
        """An own message has its place. Deliveries of what stands before it may come a moment later."""
        top = self.top(conversation)
        self._have.setdefault(conversation, Ranges()).add(seq)
        if top and seq > top + 1:
            self._known.append(_Known(Hole(conversation, top + 1, seq - 1, "seq"), now + HEAD_PATIENCE_S))

    def know_head(self, conversation: str, head: int, now: float) -> None:
        """The server says that the conversation has come so far."""
        self._heads[conversation] = max(head, self._heads.get(conversation, 0))
        top = self.top(conversation)
        if head > top and not any(known.hole.conversation == conversation for known in self._known):
            hole = Hole(conversation, top + 1, head, "heads")
            self._known.append(_Known(hole, now + HEAD_PATIENCE_S))

    def due(self, now: float) -> list[tuple[Hole, bool]]:
        """What to ask for now, and whether it is new: holes that were closed meanwhile are forgotten."""
        self._known = [known for known in self._known if known.tries < TRIES and not self._closed(known.hole)]
        due = [known for known in self._known if known.due_at <= now]
        found = []
        for known in due:
            found.append((known.hole, not known.told))
            known.told = True
            known.tries += 1
            known.due_at = now + AGAIN_S
        return found

    def all(self) -> list[Hole]:
        """Everything missing below the highest seq this client has heard of."""
        holes = []
        for conversation, ranges in self._have.items():
            holes += [Hole(conversation, *hole, "history") for hole in ranges.holes()]
        for conversation, head in self._heads.items():
            if head > self.top(conversation):
                holes.append(Hole(conversation, self.top(conversation) + 1, head, "heads"))
        return holes

    def _closed(self, hole: Hole) -> bool:
        ranges = self._have.get(hole.conversation)
        return ranges is not None and all(seq in ranges for seq in range(hole.first, hole.last + 1))
