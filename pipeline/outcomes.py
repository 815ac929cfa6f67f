"""What a sender is told by the pipeline: its answers travel to the gateway the request came through."""

from __future__ import annotations

from infra.ports import Outgoing
from infra.telemetry.trace_context import Headers
from schemas.codec import OUTBOUND
from schemas.codes import Code
from schemas.frames import JSON, Rejected, Sent
from schemas.records import Inbound, Outbound
from schemas.topics import outbound_topic

__all__ = ["rejected_answer", "sent_answer"]


def sent_answer(
    inbound: Inbound, seq: int, message_id: str, sent_at_ms: int, headers: Headers = ()
) -> Outgoing:
    """The place a repeated send already has."""
    frame = Sent(
        client_msg_id=inbound.client_msg_id,
        conversation_id=inbound.conversation_id,
        seq=seq,
        message_id=message_id,
        sent_at_ms=sent_at_ms,
    )
    return _answer(inbound, JSON.encode(frame), headers)


def rejected_answer(inbound: Inbound, code: Code, message: str = "", headers: Headers = ()) -> Outgoing:
    """Why a request was not taken: seen by its sender only."""
    frame = Rejected(
        client_msg_id=inbound.client_msg_id,
        conversation_id=inbound.conversation_id,
        code=int(code),
        name=code.wire_name,
        message=message or code.text,
        temporary=code.temporary,
        message_id=inbound.message_id,
    )
    return _answer(inbound, JSON.encode(frame), headers)


def _answer(inbound: Inbound, frame: bytes, headers: Headers) -> Outgoing:
    outbound = Outbound(kind="frame", body=frame, users=[inbound.sender], session_id=inbound.session_id)
    return Outgoing(outbound_topic(inbound.gateway_id).name, 0, OUTBOUND.encode(outbound), headers=headers)
