"""What a client may ask for about a conversation: the frame of it, and what the journal says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from schemas import frames
from schemas.frames import ClientFrame

__all__ = ["Op", "Wish"]

Op = Literal["group.create", "group.add", "group.remove", "group.leave", "conversation.block"]


@dataclass(frozen=True, slots=True)
class Wish:
    op: Op
    conversation: str
    users: tuple[str, ...] = ()
    blocked: bool = True

    @property
    def fields(self) -> dict[str, Any]:
        """For `history.Request`."""
        return {
            "op": self.op,
            "conversation": self.conversation,
            "users": list(self.users),
            "blocked": self.blocked,
        }

    def frame(self, number: str) -> ClientFrame:
        users = list(self.users)
        match self.op:
            case "group.create":
                group_id = self.conversation.removeprefix("g:")
                return frames.GroupCreate(name=group_id, members=users, group_id=group_id, id=number)
            case "group.add":
                return frames.GroupAdd(conversation_id=self.conversation, members=users, id=number)
            case "group.remove":
                return frames.GroupRemove(conversation_id=self.conversation, members=users, id=number)
            case "group.leave":
                return frames.GroupLeave(conversation_id=self.conversation, id=number)
            case "conversation.block":
                return frames.ConversationBlock(
                    conversation_id=self.conversation, blocked=self.blocked, id=number
                )
