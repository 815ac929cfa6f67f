"""One message that leaves spans in every stage it passes."""

from __future__ import annotations

import secrets
from typing import Final

import aiohttp
import msgspec

from infra.telemetry.trace_context import TRACEPARENT
from schemas.errors import BadInput, Unavailable

__all__ = ["Traced", "send_traced"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=15.0)


class Traced(msgspec.Struct, frozen=True):
    """Where the message is in its conversation, and the trace to look for."""

    conversation_id: str
    seq: int
    message_id: str
    trace_id: str


async def send_traced(url: str, token: str, conversation_id: str, text: str) -> Traced:
    """Send over HTTP with a sampled traceparent.

    Raises `BadInput` when it is refused, `Unavailable` when there is no answer.
    """
    trace_id = secrets.token_hex(16)
    headers = {
        "Authorization": f"Bearer {token}",
        TRACEPARENT: f"00-{trace_id}-{secrets.token_hex(8)}-01",
    }
    body = {"conversation_id": conversation_id, "kind": "text", "content": {"text": text}}
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as http,
            http.post(f"{url}/v1/messages", json=body, headers=headers) as answer,
        ):
            said = await answer.json()
            status = answer.status
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(f"no answer from {url}: {error}") from error
    if status != 200:
        raise (Unavailable if status >= 500 else BadInput)(str(said.get("message", said))[:200])
    return Traced(conversation_id, int(said["seq"]), str(said["message_id"]), trace_id)
