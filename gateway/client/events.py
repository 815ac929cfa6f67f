"""What a client tells its application: one frozen value per event, each with a dotted name.

Messages of one conversation come in the order of their `seq`, each once. Between conversations there is
no order.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from schemas.frames import Conversation, Message

__all__ = [
    "ConversationUpdated", "Event", "Gap", "MessageAccepted", "MessageNew", "MessageRecalled",
    "MessageRejected", "MessageSent", "MessageUpdated", "PresenceChanged", "ReceiptMoved", "State",
    "StateChanged", "Typing", "event_of_message",
]  # fmt: skip

State = Literal["disconnected", "connecting", "connected", "closed"]


class MessageNew(msgspec.Struct, frozen=True):
    """Somebody said something; own messages come too, from whichever device they were sent."""

    name: ClassVar[str] = "message.new"
    message: Message


class MessageUpdated(msgspec.Struct, frozen=True):
    """The message at `seq` was edited or got a reaction; `change` is the event message that says how."""

    name: ClassVar[str] = "message.updated"
    conversation_id: str
    seq: int
    change: Message


class MessageRecalled(msgspec.Struct, frozen=True):
    """The message at `seq` was taken back; its content is to be forgotten."""

    name: ClassVar[str] = "message.recalled"
    conversation_id: str
    seq: int
    change: Message


class MessageAccepted(msgspec.Struct, frozen=True):
    """An own send is kept: it will end as sent or rejected."""

    name: ClassVar[str] = "message.accepted"
    client_msg_id: str
    conversation_id: str
    accepted_at_ms: int


class MessageSent(msgspec.Struct, frozen=True):
    """An own send has its place."""

    name: ClassVar[str] = "message.sent"
    client_msg_id: str
    conversation_id: str
    seq: int
    message_id: str
    sent_at_ms: int


class MessageRejected(msgspec.Struct, frozen=True):
    """An own send failed for good. `temporary`: sending it anew may help, it would come after later ones."""

    name: ClassVar[str] = "message.rejected"
    client_msg_id: str
    conversation_id: str
    code: int
    reason: str
    message: str
    temporary: bool


class ReceiptMoved(msgspec.Struct, frozen=True):
    """A cursor of `user_id` moved forwards."""

    name: ClassVar[str] = "receipt.moved"
    conversation_id: str
    user_id: str
    delivered_seq: int | None
    read_seq: int | None


class ConversationUpdated(msgspec.Struct, frozen=True):
    """A row of the conversation list (from a sync), or a change of the group or its members (`change`)."""

    name: ClassVar[str] = "conversation.updated"
    conversation_id: str
    conversation: Conversation | None = None
    change: Message | None = None


class Typing(msgspec.Struct, frozen=True):
    """Somebody starts or stops writing."""

    name: ClassVar[str] = "typing.changed"
    conversation_id: str
    user_id: str
    active: bool


class PresenceChanged(msgspec.Struct, frozen=True):
    """A user that was subscribed to came or went."""

    name: ClassVar[str] = "presence.changed"
    user_id: str
    online: bool


class Gap(msgspec.Struct, frozen=True):
    """The messages `from_seq`…`to_seq` were not fetched: too many (ask `history`), or they are gone."""

    name: ClassVar[str] = "gap"
    conversation_id: str
    from_seq: int
    to_seq: int


class StateChanged(msgspec.Struct, frozen=True):
    """The connection's state. `code` and `reason` say why it ended; `retry_in_s` when it is tried again."""

    name: ClassVar[str] = "connection.state"
    state: State
    code: int | None = None
    reason: str = ""
    retry_in_s: float | None = None
    resumed: bool = False


Event = (
    MessageNew | MessageUpdated | MessageRecalled | MessageAccepted | MessageSent | MessageRejected
    | ReceiptMoved | ConversationUpdated | Typing | PresenceChanged | Gap | StateChanged
)  # fmt: skip


def event_of_message(message: Message) -> Event:
    """What one message of a conversation means to an application."""
    match message.kind:
        case "edit" | "reaction":
            return MessageUpdated(message.conversation_id, _target(message), message)
        case "recall":
            return MessageRecalled(message.conversation_id, _target(message), message)
        case "group" | "member":
            return ConversationUpdated(message.conversation_id, change=message)
        case _:
            return MessageNew(message)


def _target(message: Message) -> int:
    seq = message.content.get("seq") if isinstance(message.content, dict) else None
    return seq if isinstance(seq, int) else 0
