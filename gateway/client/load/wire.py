"""The bytes a load generator writes and reads: as few operations as a measurement can bear. Pure.

A client must mask its frames; the key may be any, and with a key of zeros the payload stands as it is
(RFC 6455, 5.3 wants it unpredictable against proxies, of which there are none on the loopback).
"""

from __future__ import annotations

import base64
import secrets
from typing import Final

__all__ = ["CLOSE", "PING", "TEXT", "client_frame", "mark", "mark_due_us", "send_frame", "upgrade_request"]

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
_FINAL: Final = 0x80
_MASKED: Final = 0x80
_ZERO_KEY: Final = bytes(4)
_DUE_FROM: Final = 20
_MARK_LENGTH: Final = 36


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One whole frame from client to server."""
    length = len(payload)
    if length < 126:
        head = bytes((_FINAL | opcode, _MASKED | length))
    elif length < 65_536:
        head = bytes((_FINAL | opcode, _MASKED | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((_FINAL | opcode, _MASKED | 127)) + length.to_bytes(8, "big")
    return head + _ZERO_KEY + payload


def mark(run: str, sender: int, index: int, due_us: int) -> str:
    """The client_msg_id of a load message; it carries the instant at which the message was due."""
    return f"{run:8.8}{sender:05d}{index:07d}{due_us:016d}"


def mark_due_us(client_msg_id: str) -> int:
    """When the message of this mark was due, by the machine's monotonic clock."""
    return int(client_msg_id[_DUE_FROM:])


def send_frame(run: str, sender: int, conversation_id: str, text: str) -> tuple[bytes, bytes]:
    """A `send` frame in two pieces; `%07d%016d` of index and due time goes between them."""
    probe = (
        f'{{"type":"send","client_msg_id":"{mark(run, sender, 0, 0)}",'
        f'"conversation_id":"{conversation_id}","kind":"text","content":{{"text":"{text}"}}}}'
    )
    frame = client_frame(probe.encode())
    cut = frame.index(mark(run, sender, 0, 0).encode()) + 13
    return frame[:cut], frame[cut + _MARK_LENGTH - 13 :]


def upgrade_request(host: str, port: int, token: str, session_id: str | None = None) -> bytes:
    """The HTTP request that opens a connection; `session_id` resumes a session."""
    resume = f"&session_id={session_id}" if session_id else ""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    return (
        f"GET /v1/ws?device_id=bench&platform=desktop{resume} HTTP/1.1\r\n"
        f"Host: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        f"Sec-WebSocket-Protocol: im.v1.json\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()
