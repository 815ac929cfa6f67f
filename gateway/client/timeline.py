"""One conversation as this client sees it: each seq once, in order, holes found. Pure."""

from __future__ import annotations

from schemas.frames import Message

__all__ = ["Timeline"]


class Timeline:
    """Messages go in as they come and come out in the order of `seq`, each once.

    `level` is the newest seq that came out, None while nothing is known. What lies beyond a hole is
    held back until the hole is filled or skipped.
    """

    def __init__(self, user_id: str) -> None:
        self.level: int | None = None
        self._user_id = user_id
        self._held: dict[int, Message] = {}
        self._head = 0
        self.outside = False
        """Whether this user left with what came out last: what is said until the return is no hole. Whether
        he has returned, the history says when a head beyond the leave is told."""
        self._return_known = False

    @property
    def held_count(self) -> int:
        return len(self._held)

    @property
    def hole(self) -> tuple[int, int] | None:
        """The first and last seq of what is missing before something that is known to exist."""
        if self.level is None:
            return None
        end = min(self._held) - 1 if self._held else self._head
        return (self.level + 1, end) if end > self.level else None

    @property
    def newest(self) -> int:
        """The highest seq that is known to exist; 0 while none is."""
        return max(self.level or 0, self._head, *self._held, 0)

    @property
    def missing(self) -> bool:
        """Whether something is known to exist that is not here."""
        if self.level is None:
            return self._head > 0 or bool(self._held)
        return self.hole is not None

    def add(self, message: Message) -> None:
        """Take a message; one that already came out is dropped."""
        if self.level is None or message.seq > self.level:
            self._held[message.seq] = message

    def begin(self) -> bool:
        """Begin with the first message of all, if that is held. Whether it has begun, now or before."""
        if self.level is None and 1 in self._held:
            self.level = 0
        return self.level is not None

    def begin_after(self, known_ms: int) -> None:
        """Begin, if it has not yet, with the first held message that was not sent before this time; those
        that were came out in an earlier run, and this user may have left with the last of them."""
        if self.level is None and self._held:
            known = [seq for seq, message in self._held.items() if message.sent_at_ms < known_ms]
            self.level = max(known, default=min(self._held) - 1)
            self.outside = bool(known) and self._left_by(self._held[self.level])
            self._held = {seq: message for seq, message in self._held.items() if seq > self.level}

    def looked_up(self) -> None:
        """The history has shown what there is from the leave on: what is held now begins with the return.

        Before, it may be one more addition of somebody who is in already. An answer that shows nothing says
        nothing: the history lags behind what is delivered.
        """
        self._return_known = self.outside

    def know_head(self, seq: int) -> None:
        """The conversation reaches up to `seq`, as somebody else says."""
        self._head = max(self._head, seq)

    def take(self) -> list[Message]:
        """What can come out now."""
        if self.level is None:
            return []
        ready = []
        while message := self._next(self.level + 1):
            ready.append(message)
            self.level = message.seq
            self.outside = self._left_by(message)
            self._return_known = False
        return ready

    def stay_outside(self) -> None:
        """The history shows no return: what is said there is not for this user."""
        self._head = self.level or 0

    def skip_hole(self) -> tuple[int, int] | None:
        """Give up what is missing; what was held behind it can be taken. Returns the hole that is skipped."""
        if self.level is None:
            self.level = min(self._held) - 1 if self._held else self._head
        hole = self.hole
        if hole is not None:
            self.level = hole[1]
            self.outside = False
        return hole

    def _next(self, seq: int) -> Message | None:
        """The message at `seq`; after a leave the return, wherever it stands, once it is known for one."""
        if self.outside and self._return_known and self._held:
            first = self._held[min(self._held)]
            if self._concerns_me(first) and first.content.get("action") == "joined":
                seq = first.seq
        return self._held.pop(seq, None)

    def _left_by(self, message: Message) -> bool:
        return self._concerns_me(message) and message.content.get("action") in ("removed", "left")

    def _concerns_me(self, message: Message) -> bool:
        if message.kind != "member" or not isinstance(message.content, dict):
            return False
        users = message.content.get("users")
        return isinstance(users, list) and self._user_id in users
