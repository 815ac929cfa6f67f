"""What a raw client wants to send: one at a time in a conversation, under the same id until answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from schemas import frames
from tests.faults.history import digest

__all__ = ["Letter", "Outgoing", "Sendable"]

Sendable = frames.Send | frames.Recall | frames.Edit | frames.React

KINDS: Final[dict[type, str]] = {frames.Recall: "recall", frames.Edit: "edit", frames.React: "reaction"}
GIVE_UP_S: Final = 90.0
"""A repeat that comes later might be taken for a new message: the server remembers ids for two minutes."""
WAITING: Final = 40
"""Letters that may wait in one conversation."""


@dataclass(slots=True)
class Letter:
    """One thing to send, through all its attempts."""

    frame: Sendable
    forbidden: bool = False
    attempts: int = 0
    first_at: float = 0.0
    written_at: float | None = None
    """When the attempt that waits for its answer was written; None: it waits for its (next) attempt."""
    again_at: float = 0.0

    @property
    def kind(self) -> str:
        """The kind of the message that it asks for."""
        return KINDS.get(type(self.frame), "text")

    @property
    def fields(self) -> dict[str, Any]:
        """For `history.Send`."""
        frame = self.frame
        return {
            "client_msg_id": frame.client_msg_id,
            "conversation": frame.conversation_id,
            "kind": self.kind,
            "digest": digest(frame.content) if isinstance(frame, frames.Send) else 0,
            "target": 0 if isinstance(frame, frames.Send) else frame.seq,
            "attempt": max(1, self.attempts),
            "forbidden": self.forbidden,
        }


class Outgoing:
    """A queue per conversation. Only its head is on its way, so nothing overtakes what is tried again."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Letter]] = {}
        self._by_id: dict[str, Letter] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def room(self, conversation_id: str) -> bool:
        return len(self._queues.get(conversation_id, ())) < WAITING

    def add(self, letter: Letter) -> None:
        self._queues.setdefault(letter.frame.conversation_id, deque()).append(letter)
        self._by_id[letter.frame.client_msg_id] = letter

    def get(self, client_msg_id: str) -> Letter | None:
        return self._by_id.get(client_msg_id)

    def finish(self, client_msg_id: str) -> Letter | None:
        """It has its answer; the next of its conversation may go."""
        letter = self._by_id.pop(client_msg_id, None)
        if letter is not None:
            queue = self._queues[letter.frame.conversation_id]
            queue.remove(letter)
            if not queue:
                del self._queues[letter.frame.conversation_id]
        return letter

    def due(self, now: float) -> Iterator[Letter]:
        """Heads that are to be written now, each marked as written."""
        for queue in self._queues.values():
            letter = queue[0]
            if letter.written_at is None and letter.again_at <= now:
                letter.attempts += 1
                letter.first_at = letter.first_at or now
                letter.written_at = now
                yield letter

    def unanswered(self) -> list[Letter]:
        """Those on their way."""
        return [queue[0] for queue in self._queues.values() if queue[0].written_at is not None]

    def too_old(self, now: float) -> list[Letter]:
        """Those tried for so long that another attempt could do harm."""
        heads = [queue[0] for queue in self._queues.values()]
        return [letter for letter in heads if letter.first_at and now - letter.first_at > GIVE_UP_S]

    def try_again(self, letter: Letter, at: float) -> None:
        letter.written_at = None
        letter.again_at = at
