"""Opening a WebSocket to a gateway that a busy machine may hold up."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

__all__ = ["connected"]

_STOOD_STILL: Final = b"stood still"
_OPEN_TIMEOUT_S: Final = 45.0


async def connected(url: str, **options: Any) -> ClientConnection:
    """A connection. Raises `InvalidStatus`, but not because this machine had no time for the gateway: who
    comes right after such a standstill is to ask again."""
    while True:
        try:
            return await connect(url, **{"proxy": None, "open_timeout": _OPEN_TIMEOUT_S, **options})
        except InvalidStatus as refused:
            if _STOOD_STILL not in (refused.response.body or b""):
                raise
            await asyncio.sleep(float(refused.response.headers["Retry-After"]))
