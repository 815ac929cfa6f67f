"""Small makers of values, with defaults that do not matter to the test that uses them."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import msgspec

from infra.ports import Record
from schemas.codec import ACCEPTED, INBOUND, MESSAGE
from schemas.records import Inbound, Message

__all__ = ["a_message", "a_record", "an_accepted_record", "an_inbound", "framed"]


def an_inbound(text: str = "hi", **fields: Any) -> Inbound:
    content = fields.pop("content", None) or msgspec.json.encode({"text": text}).decode()
    values: dict[str, Any] = {
        "conversation_id": "d:alice:bob",
        "message_id": "01937c3e-8f10-7c4e-9b1a-5d0f6f2b9a11",
        "sender": "alice",
        "client_msg_id": "m1",
        "content_crc": crc32(content.encode()),
        "kind": "text",
        "gateway_id": "gw-1",
        "session_id": "s1",
        "received_at_ms": 1_700_000_000_000,
        "content": content,
    }
    return Inbound(**(values | fields))


def a_message(
    seq: int = 1, source_offset: int = 0, sent_at_ms: int = 1_700_000_000_001, **fields: Any
) -> Message:
    inbound = an_inbound(**fields)
    return Message(
        seq=seq, source_offset=source_offset, sent_at_ms=sent_at_ms, **msgspec.structs.asdict(inbound)
    )


def framed(message: Message) -> bytes:
    """The bytes of a Message as the sequencer writes them."""
    return MESSAGE.encode(message)


def a_record(value: bytes | None, offset: int = 0, **fields: Any) -> Record:
    values: dict[str, Any] = {
        "topic": "im.messages",
        "partition": 0,
        "offset": offset,
        "timestamp_ms": 1_700_000_000_000 + offset,
        "key": b"d:alice:bob",
        "value": value,
    }
    return Record(**(values | fields))


def an_accepted_record(
    inbound: Inbound, offset: int, source_offset: int | None = None, **fields: Any
) -> Record:
    body = INBOUND.split(INBOUND.encode(inbound))[2]
    value = ACCEPTED.splice({"source_offset": offset if source_offset is None else source_offset}, body)
    return a_record(
        value, offset, **({"topic": "im.accepted", "key": inbound.conversation_id.encode()} | fields)
    )
