"""Who is in a conversation at which seq: written anew from the protocol, because the checker must not
share a mistake with the fold it judges (`schemas/conversation.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

__all__ = ["ALWAYS", "Members", "StateEvent"]

ALWAYS: Final = 2**62
"""The end of a stay that has none."""


class StateEvent(msgspec.Struct, frozen=True):
    """The content of a group or member event, as far as membership and blocks go."""

    action: str
    by: str
    users: list[str] = []
    members: list[str] = []


class Members:
    """The stays of every user as (first seq, last seq): the join and the leave themselves are seen."""

    __slots__ = ("blocks", "named", "stays")

    def __init__(self, conversation: str) -> None:
        self.stays: dict[str, list[tuple[int, int]]] = {}
        self.blocks: list[tuple[int, str, bool]] = []
        """(seq, who, whether he blocks from here on), in direct conversations."""
        self.named: dict[str, tuple[int, int]] = {}
        """(newest join, newest leave or 0) of who was named by an event: what the table must say."""
        if conversation.startswith("d:"):
            for user in conversation.split(":")[1:]:
                self.stays[user] = [(0, ALWAYS)]
                self.named[user] = (0, 0)

    def apply(self, seq: int, event: StateEvent) -> None:
        """Take the events in the order of their seqs."""
        match event.action:
            case "created":
                self._join(seq, [event.by, *event.members])
            case "joined":
                self._join(seq, event.users)
            case "left" | "removed":
                for user in event.users:
                    self._leave(seq, user)
                    self.named[user] = (self.named.get(user, (0, 0))[0], seq)
            case "dissolved":
                for user in self.stays:
                    self._leave(seq, user)
            case "blocked" | "unblocked":
                self.blocks.append((seq, event.by, event.action == "blocked"))

    def _join(self, seq: int, users: list[str]) -> None:
        for user in users:
            self.named[user] = (seq, 0)
            stays = self.stays.setdefault(user, [])
            if not stays or stays[-1][1] != ALWAYS:
                stays.append((seq, ALWAYS))

    def _leave(self, seq: int, user: str) -> None:
        stays = self.stays.get(user)
        if stays and stays[-1][1] == ALWAYS:
            stays[-1] = (stays[-1][0], seq)

    def sees(self, user: str, seq: int) -> bool:
        """Whether what stands at `seq` is for this user."""
        return any(first <= seq <= last for first, last in self.stays.get(user, ()))

    def was_in(self, user: str) -> bool:
        """Whether the user is or ever was a member."""
        return user in self.stays

    def seen_by(self, user: str, head: int) -> Iterator[tuple[int, int]]:
        """The ranges of seqs up to `head` that are for this user."""
        for first, last in self.stays.get(user, ()):
            if first <= head:
                yield max(first, 1), min(last, head)

    def blocked(self, sender: str, seq: int) -> tuple[int, str] | None:
        """The block (seq, who) that should have kept `sender` from writing at `seq`."""
        standing: dict[str, int] = {}
        for at, who, blocks in self.blocks:
            if at < seq and who != sender:
                standing[who] = at if blocks else 0
        return next(((at, who) for who, at in standing.items() if at), None)
