"""One connection to a gateway: the only file of the SDK that imports websockets."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from gateway.client.address import Address
from schemas.errors import Refused
from schemas.frames import ClientFrame, FrameCodec, ServerFrame

__all__ = ["Link", "LinkEnd", "open_link"]

OPEN_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 2.0
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""Pages hold many messages; this bounds what one frame of a server may take of memory."""
TERMINAL_STATUS: Final = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
)


class LinkEnd(Exception):
    """Why there is no connection (any more).

    `terminal`: do not connect again.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        *,
        terminal: bool = False,
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason
        self.terminal = terminal
        self.retry_after_s = retry_after_s


class Link:
    """An open connection that carries frames. One task may read while another writes."""

    def __init__(self, socket: ClientConnection, codec: FrameCodec) -> None:
        self._socket = socket
        self._codec = codec

    async def read(self) -> ServerFrame | None:
        """The next frame; None for one that this version does not know. Raises `LinkEnd`."""
        try:
            data = await self._socket.recv(decode=False)
        except ConnectionClosed:
            raise self._end() from None
        try:
            return self._codec.parse_server(data)
        except Refused:
            return None

    async def write(self, frame: ClientFrame, timeout_s: float) -> None:
        """Write a frame; waits while the server does not read. Raises `LinkEnd`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._socket.send(self._codec.encode(frame), text=self._codec.text)
        except ConnectionClosed:
            raise self._end() from None
        except TimeoutError:
            raise LinkEnd(0, "the server does not read") from None

    async def close(self) -> None:
        """Close it; waits a moment for the server to agree."""
        await self._socket.close()

    def _end(self) -> LinkEnd:
        code = int(self._socket.close_code or 1006)
        return LinkEnd(code, self._socket.close_reason or "", terminal=4500 <= code < 5000)


async def open_link(address: Address, token: str, session_id: str | None, codec: FrameCodec) -> Link:
    """Connect. Raises `LinkEnd`; a refusal that another try cannot change is terminal."""
    try:
        socket = await connect(
            address.connect_url(session_id),
            additional_headers={"Authorization": f"Bearer {token}"},
            subprotocols=[Subprotocol(codec.subprotocol)],
            compression=None,
            proxy=None if address.loopback else True,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=None,
            max_size=MAX_FRAME_BYTES,
        )
    except InvalidStatus as error:
        raise _refusal(error) from error
    except (OSError, TimeoutError, InvalidHandshake) as error:
        raise LinkEnd(0, str(error) or type(error).__name__) from error
    return Link(socket, codec)


def _refusal(error: InvalidStatus) -> LinkEnd:
    response = error.response
    retry_after = response.headers.get("Retry-After", "")
    text = response.body[:200].decode(errors="replace") if response.body else response.reason_phrase
    return LinkEnd(
        code=response.status_code,
        reason=text,
        terminal=response.status_code in TERMINAL_STATUS,
        retry_after_s=float(retry_after) if retry_after.isdecimal() else 0.0,
    )
