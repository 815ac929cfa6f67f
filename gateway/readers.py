"""The members of large conversations that are connected here: this gateway's part of read-diffusion. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable

__all__ = ["Readers"]


class Readers:
    """conversation → connected members, and back. Follows the membership events of the stream.

    Limits: one entry for each large conversation of each connected user.
    """

    def __init__(self) -> None:
        self._by_conversation: dict[str, set[str]] = {}
        self._by_user: dict[str, set[str]] = {}

    def __contains__(self, conversation_id: str) -> bool:
        return conversation_id in self._by_conversation

    def of(self, conversation_id: str) -> set[str]:
        """The members connected here; not to be changed."""
        return self._by_conversation.get(conversation_id, set())

    def conversations(self) -> list[str]:
        return list(self._by_conversation)

    def add(self, conversation_id: str, users: Iterable[str], here: Container[str]) -> bool:
        """These users are members; those who are `here` are noted. True: they are the first ones."""
        first = conversation_id not in self._by_conversation
        for user_id in users:
            if user_id in here:
                self._by_conversation.setdefault(conversation_id, set()).add(user_id)
                self._by_user.setdefault(user_id, set()).add(conversation_id)
        return first and conversation_id in self._by_conversation

    def remove(self, conversation_id: str, users: Iterable[str]) -> None:
        """These users are members no more."""
        for user_id in users:
            self._forget(conversation_id, user_id)

    def gone(self, user_id: str) -> None:
        """This user has no session here any more."""
        for conversation_id in list(self._by_user.get(user_id, ())):
            self._forget(conversation_id, user_id)

    def _forget(self, conversation_id: str, user_id: str) -> None:
        _discard(self._by_conversation, conversation_id, user_id)
        _discard(self._by_user, user_id, conversation_id)


def _discard(sets: dict[str, set[str]], key: str, value: str) -> None:
    held = sets.get(key)
    if held is not None:
        held.discard(value)
        if not held:
            del sets[key]
