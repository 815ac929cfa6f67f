"""The members of large conversations that are connected here: this gateway's part of read-diffusion. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

__all__ = ["Departures", "Readers"]

_NOBODY: Final[Mapping[str, int]] = MappingProxyType({})


class Departures:
    """Who left since a question was asked, whose answer may say that he is inside."""

    def __init__(self) -> None:
        self._left: dict[tuple[str, str], int] = {}
        self._void = False

    def note(self, conversation_id: str, user_id: str, seq: int) -> None:
        self._left[conversation_id, user_id] = seq

    def void(self) -> None:
        """Nobody knows who left: no answer counts."""
        self._void = True

    def overtook(self, conversation_id: str, user_id: str, seq: int) -> bool:
        """Whether the answer that he reads from this seq on counts no more."""
        return self._void or self._left.get((conversation_id, user_id), 0) >= seq


class Readers:
    """conversation → connected members, each with the seq from which he reads, and back.

    Follows the membership events of the stream. The route table is ahead of it: it names a member before his
    join has passed here, together with messages from before it, which are not his to see.
    Limits: one entry for each large conversation of each connected user.
    """

    def __init__(self) -> None:
        self._by_conversation: dict[str, dict[str, int]] = {}
        self._by_user: dict[str, set[str]] = {}
        self._following: list[Departures] = []

    def __contains__(self, conversation_id: str) -> bool:
        return conversation_id in self._by_conversation

    def of(self, conversation_id: str) -> Mapping[str, int]:
        """The members connected here, and from which seq each reads; not to be changed."""
        return self._by_conversation.get(conversation_id, _NOBODY)

    def conversations(self) -> list[str]:
        return list(self._by_conversation)

    def add(self, conversation_id: str, users: Iterable[str], seq: int, here: Container[str]) -> bool:
        """These users read from this seq on; those who are `here` are noted. True: they are the first ones.

        Who is a reader already stays one from his own seq on: he leaves before he joins again.
        """
        first = conversation_id not in self._by_conversation
        for user_id in users:
            if user_id in here:
                self._by_conversation.setdefault(conversation_id, {}).setdefault(user_id, seq)
                self._by_user.setdefault(user_id, set()).add(conversation_id)
        return first and conversation_id in self._by_conversation

    def remove(self, conversation_id: str, users: Iterable[str], seq: int) -> None:
        """These users left at this seq. Who is known to have joined again after it stays."""
        for user_id in users:
            if self.of(conversation_id).get(user_id, seq) <= seq:
                self._forget(conversation_id, user_id)
            for departures in self._following:
                departures.note(conversation_id, user_id, seq)

    def clear(self) -> None:
        """Forget everybody: leaves may have passed this gateway by. Who reads on is to be added anew."""
        self._by_conversation.clear()
        self._by_user.clear()
        for departures in self._following:
            departures.void()

    @contextmanager
    def departures(self) -> Iterator[Departures]:
        """Collects who leaves meanwhile: what was asked before may answer that he is inside."""
        departures = Departures()
        self._following.append(departures)
        try:
            yield departures
        finally:
            self._following = [other for other in self._following if other is not departures]

    def gone(self, user_id: str) -> None:
        """This user has no session here any more."""
        for conversation_id in list(self._by_user.get(user_id, ())):
            self._forget(conversation_id, user_id)

    def _forget(self, conversation_id: str, user_id: str) -> None:
        members = self._by_conversation.get(conversation_id)
        if members is not None and members.pop(user_id, None) is not None:
            if not members:
                del self._by_conversation[conversation_id]
            conversations = self._by_user[user_id]
            conversations.discard(conversation_id)
            if not conversations:
                del self._by_user[user_id]
