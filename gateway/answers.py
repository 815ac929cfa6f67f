"""The frames that answer a send: made from what the log says, or from a refusal. Pure."""

from __future__ import annotations

from schemas.errors import Refused
from schemas.frames import Rejected, RequestId, Sent
from schemas.records import Message

__all__ = ["refused_frame", "sent_frame"]


def sent_frame(message: Message) -> Sent:
    """What the sender is told of a message in its place."""
    return Sent(
        client_msg_id=message.client_msg_id,
        conversation_id=message.conversation_id,
        seq=message.seq,
        message_id=message.message_id,
        sent_at_ms=message.sent_at_ms,
    )


def refused_frame(
    client_msg_id: str, conversation_id: str, refused: Refused, re: RequestId | None = None
) -> Rejected:
    """What the sender is told of a refusal."""
    code = refused.code
    return Rejected(
        client_msg_id=client_msg_id,
        conversation_id=conversation_id,
        code=int(code),
        name=code.wire_name,
        message=refused.message,
        temporary=code.temporary,
        retry_after_ms=refused.retry_after_ms,
        re=re,
    )
