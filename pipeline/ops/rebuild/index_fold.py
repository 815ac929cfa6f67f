"""The whole index of Redis out of the log alone: inboxes, heads and large conversations. Pure.

Fan-out raises the entry of everybody inside with every message. What remains in the end is less: who
is inside saw the newest message, who left saw their leave. So a message costs one look-up here, however
large its conversation, and only events cost more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from infra.ports import Head
from pipeline.fanout.plan import is_large
from schemas.conversation import ConversationState, GroupEvent, MemberEvent

__all__ = ["IndexFold"]


@dataclass(slots=True)
class _Conversation:
    state: ConversationState
    seq: int = 0
    at_ms: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    """When those who are not inside any more, or were inside while it was small, last saw something."""


class IndexFold:
    """Takes every message of the log once, each conversation in its order (1 KB a conversation)."""

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._conversations: dict[str, _Conversation] = {}

    def __contains__(self, conversation_id: object) -> bool:
        return conversation_id in self._conversations

    def __len__(self) -> int:
        return len(self._conversations)

    def take(
        self, conversation_id: str, seq: int, at_ms: int, event: GroupEvent | MemberEvent | None = None
    ) -> None:
        """One message, and the event it is, if it changes who is inside. The id must have been checked."""
        here = self._conversations.get(conversation_id)
        if here is None:
            here = self._conversations[conversation_id] = _Conversation(
                ConversationState.new(conversation_id)
            )
        if event is not None:
            self._change(here, seq, at_ms, event)
        here.seq = seq
        here.at_ms = at_ms

    def _change(self, here: _Conversation, seq: int, at_ms: int, event: GroupEvent | MemberEvent) -> None:
        state, was_large = here.state, self._is_large(here)
        if was_large and isinstance(event, MemberEvent):
            before = [user for user in event.users if state.is_member(user)]
        else:
            before = state.inside()
        state.apply(event, seq)
        if here.seq and self._is_large(here) and not was_large:  # from now on few inboxes learn of it
            here.seen.update(dict.fromkeys(before, here.at_ms))
        here.seen.update((user, at_ms) for user in before if not state.is_member(user))

    def _is_large(self, here: _Conversation) -> bool:
        return is_large(here.state, self._threshold)

    def heads(self) -> dict[str, Head]:
        """The newest message of every conversation."""
        return {name: Head(here.seq, here.at_ms) for name, here in self._conversations.items()}

    def inboxes(self) -> dict[str, dict[str, int]]:
        """User → conversation → time of the newest message there that their inbox learned of."""
        found: dict[str, dict[str, int]] = {}
        for name, here in self._conversations.items():
            entries = dict(here.seen)
            if not self._is_large(here):
                entries.update(dict.fromkeys(here.state.inside(), here.at_ms))
            for user_id, at_ms in entries.items():
                found.setdefault(user_id, {})[name] = at_ms
        return found

    def large(self) -> Iterator[tuple[str, dict[str, int]]]:
        """The large conversations with their members (→ the seq of their joining)."""
        for name, here in self._conversations.items():
            if self._is_large(here):
                yield name, here.state.joined()

    def left(self, conversation_id: str, users: Iterable[str]) -> dict[int, list[str]]:
        """By seq: those of these users, members once, who left with it and are not inside any more."""
        members = self._conversations[conversation_id].state.members
        found: dict[int, list[str]] = {}
        for user_id in users:
            if seq := members[user_id].left:
                found.setdefault(seq, []).append(user_id)
        return found
