"""What an own send looks like once it has its place. Pure."""

from __future__ import annotations

from typing import Any

from gateway.client.events import MessageSent
from gateway.client.outbox_store import Outgoing
from schemas import frames
from schemas.frames import Message
from schemas.records import Kind

__all__ = ["own_message", "sent_event"]


def sent_event(message: Message) -> MessageSent:
    """That an own send has its place."""
    return MessageSent(
        client_msg_id=message.client_msg_id,
        conversation_id=message.conversation_id,
        seq=message.seq,
        message_id=message.message_id,
        sent_at_ms=message.sent_at_ms,
    )


def own_message(frame: Outgoing, sent: frames.Sent, user_id: str) -> Message:
    """What was sent, at its place: the sending connection gets no delivery of it."""
    kind, content = _kind_and_content(frame)
    return Message(
        conversation_id=frame.conversation_id,
        seq=sent.seq,
        message_id=sent.message_id,
        client_msg_id=frame.client_msg_id,
        sender=user_id,
        kind=kind,
        content=content,
        sent_at_ms=sent.sent_at_ms,
        quote=frame.quote if isinstance(frame, frames.Send) else None,
        mentions=frame.mentions if isinstance(frame, frames.Send) else [],
    )


def _kind_and_content(frame: Outgoing) -> tuple[Kind, dict[str, Any]]:
    match frame:
        case frames.Send():
            return frame.kind, frame.content
        case frames.Edit():
            return "edit", {"seq": frame.seq, "content": frame.content}
        case frames.Recall():
            return "recall", {"seq": frame.seq}
        case frames.React():
            return "reaction", {"seq": frame.seq, "emoji": frame.emoji, "add": frame.add}
