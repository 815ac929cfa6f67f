"""One socket: finds out what is spoken on it, and carries a session if it is WebSocket.

No task and no timer of its own: an idle connection is this object, a parser, and a session.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Protocol, cast

import structlog
from websockets.http11 import Request, Response
from websockets.protocol import Protocol as WebSocket
from websockets.protocol import Side
from websockets.protocol import State as WebSocketState
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from gateway.frame_reader import FrameReader
from gateway.handshake import WEBSOCKET_PATH, Opening
from gateway.intake import Intake
from gateway.session import Session
from schemas.codes import CloseCode, Code
from schemas.errors import Refused
from schemas.frames import JSON, Error

__all__ = ["MAX_HEAD_BYTES", "Connection", "Host"]

log = structlog.get_logger(__name__)
_quiet = logging.getLogger("gateway.websockets")
_quiet.setLevel(logging.ERROR)

MAX_HEAD_BYTES: Final = 8_192
_HARD_LIMIT_FACTOR: Final = 16
"""A frame up to 16 × max_frame_bytes is read and answered by 1002; a larger one is closed with 1009."""
_POLITE: Final = frozenset({1000, 1001})
_FAULT: Final = 1011


class Host(Protocol):
    """What a connection needs of its gateway."""

    max_frame_bytes: int
    outbox_bytes: int
    max_fragments: int
    intake: Intake
    """Gives each connection its turn to have `take_in` called with what it brought."""

    def enter(self, ip: str) -> bool:
        """A socket is there from this ip. False: there are too many, it may not stay."""
        ...

    def leave(self, ip: str) -> None:
        """A socket that had entered is gone, or belongs to HTTP."""
        ...

    def peer_of(self, address: object) -> str:
        """The ip of a socket's other end; "" for a trusted proxy, who is not the client."""
        ...

    def watch(self, connection: Connection) -> None:
        """Abort this connection unless `unwatch` comes within the open timeout."""
        ...

    def unwatch(self, connection: Connection) -> None: ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this, held until it is done."""
        ...

    def opening_of(self, request: Request, address: object) -> Opening:
        """Check an upgrade request that came from this address. Raises `Refused`."""
        ...

    async def admit(self, opening: Opening) -> Session:
        """A session for it. Raises `Refused`."""
        ...

    def welcome(self, session: Session, connection: Connection) -> bool: ...

    def frames(self, session: Session, messages: Sequence[tuple[bytes, bool]]) -> None:
        """Handle messages of the client, each with whether it came as text."""
        ...

    def heard(self, session: Session, frames: int) -> None:
        """The socket brought something: so many frames, or a part of one."""
        ...

    def gone(self, session: Session, by_client: bool) -> None: ...

    def flush(self) -> None:
        """Write what was put into sessions."""
        ...

    def count_handshake(self, status: int) -> None: ...

    def count_connections(self, change: int) -> None: ...

    def count_close(self, code: CloseCode) -> None: ...

    def count_fault(self) -> None: ...

    def http_handler(self) -> asyncio.Protocol | None:
        """Who goes on with a socket that speaks HTTP; None: there are too many."""
        ...


class Connection(asyncio.Protocol):
    """A socket on the gateway's port.

    The head of the first request is read here, bounded in bytes and time; then the socket belongs
    to WebSocket, or for good to the HTTP library. Faults of ours end this one connection.
    """

    __slots__ = ("_head", "_host", "_ip", "_reader", "_session", "_transport")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._ip: str | None = None
        """Under which this socket is counted; None: it is not."""
        self._transport: asyncio.Transport | None = None
        self._head: bytes | None = b""
        """What came before the upgrade; None once the connection is WebSocket or HTTP."""
        self._reader: FrameReader | None = None
        self._session: Session | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._count(self._host.peer_of(transport.get_extra_info("peername"))):
            self._head = None
            self._turn_away(b"503 Service Unavailable\r\nRetry-After: 5")
            return
        self._host.watch(self)

    def data_received(self, data: bytes) -> None:
        try:
            if self._reader is not None:
                self._host.intake.bring(self, data)
            elif self._head is not None:
                self._sniff(self._head + data)
        except Exception as error:
            self._fault(error)

    def connection_lost(self, _: Exception | None) -> None:
        self._host.unwatch(self)
        self._host.intake.forget(self)
        self._uncount()
        session, self._session = self._session, None
        ws = self._parser
        if ws is not None:
            self._host.count_connections(-1)
        if session is not None:
            polite = ws is not None and ws.close_rcvd is not None and ws.close_rcvd.code in _POLITE
            self._host.gone(session, by_client=polite)

    def pause_writing(self) -> None:
        if self._session is not None:
            self._session.outbox.congested = True

    def resume_writing(self) -> None:
        if self._session is not None:
            self._session.outbox.congested = False

    # What the gateway asks

    def write_out(self) -> None:
        """Write everything the session has put, in one piece, and close if the session asks for it."""
        session, transport = self._session, self._transport
        if session is None or transport is None:
            return
        outbox = session.outbox
        if outbox:
            data = outbox.take()
            if self._parser is None or self._parser.state is not WebSocketState.OPEN:
                return
            if outbox.congested and transport.get_write_buffer_size() > self._host.outbox_bytes:
                session.closing = session.closing or CloseCode.SLOW_READER
            elif not transport.is_closing():
                transport.write(data)
        if session.closing is not None:
            self._close(session.closing)

    def leave(self, code: CloseCode) -> None:
        """Close; the session is carried by another connection from now on."""
        self._session = None
        self._close(code)

    def abort(self) -> None:
        """End the socket now, whatever is unsent."""
        if self._transport is not None:
            self._transport.abort()

    # The first request

    def _sniff(self, head: bytes) -> None:
        transport = self._up()
        end = head.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
        if end < 0:
            self._head = head
            if len(head) >= MAX_HEAD_BYTES:
                self._turn_away(b"431 Request Header Fields Too Large")
            return
        self._head = None
        if not head.partition(b"\r\n")[0].endswith((b" HTTP/1.1", b" HTTP/1.0")):
            self._turn_away(b"400 Bad Request")
            return
        if _is_upgrade(head[:end]):
            self._upgrade(head[: end + 4], head[end + 4 :])
            return
        self._host.unwatch(self)
        handler = self._host.http_handler()
        if handler is None:
            self._turn_away(b"503 Service Unavailable\r\nRetry-After: 5")
            return
        self._uncount()
        transport.set_protocol(handler)
        handler.connection_made(transport)
        handler.data_received(head)

    def _turn_away(self, status: bytes) -> None:
        transport = self._up()
        transport.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        transport.close()

    def _upgrade(self, head: bytes, early: bytes) -> None:
        handshake = ServerProtocol(select_subprotocol=_select_nothing, logger=_quiet)
        handshake.receive_data(head)
        requests = [event for event in handshake.events_received() if isinstance(event, Request)]
        if not requests:
            self._answer(handshake, None)
            return
        request = requests[0]
        response = handshake.accept(request)
        if response.status_code != 101:
            self._answer(handshake, response)
            return
        try:
            opening = self._host.opening_of(request, self._up().get_extra_info("peername"))
            if opening.ip != self._ip and not self._count(opening.ip):
                raise Refused(Code.OVERLOADED, "too many connections from there", retry_after_ms=5_000)
        except Refused as refused:
            self._refuse(handshake, refused)
            return
        self._up().pause_reading()
        self._host.spawn(self._join(handshake, response, opening, early))

    async def _join(
        self, handshake: ServerProtocol, response: Response, opening: Opening, early: bytes
    ) -> None:
        if self._up().is_closing():
            return  # gone before its turn came: it must not replace the connection that came after it
        try:
            session = await self._host.admit(opening)
        except Refused as refused:
            self._refuse(handshake, refused)
            return
        except Exception as error:
            self._fault(error)
            return
        transport = self._up()
        if transport.is_closing() or not self._host.welcome(session, self):
            self._host.gone(session, by_client=True)
            transport.close()
            return
        if opening.subprotocol is not None:
            response.headers["Sec-WebSocket-Protocol"] = opening.subprotocol
        self._session = session
        limit_bytes = _HARD_LIMIT_FACTOR * self._host.max_frame_bytes
        parser = WebSocket(Side.SERVER, state=WebSocketState.OPEN, max_size=limit_bytes, logger=_quiet)
        self._reader = FrameReader(parser, limit_bytes, self._host.max_fragments)
        transport.set_write_buffer_limits(high=self._host.outbox_bytes // 2)
        transport.write(response.serialize() + session.outbox.take())
        transport.resume_reading()
        self._host.count_handshake(101)
        self._host.count_connections(1)
        self._host.unwatch(self)
        if early:
            self.data_received(early)

    def _refuse(self, handshake: ServerProtocol, refused: Refused) -> None:
        response = handshake.reject(refused.code.http_status, JSON.encode(Error.of(refused)).decode())
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "application/json"
        if refused.retry_after_ms is not None:
            response.headers["Retry-After"] = str(-(-refused.retry_after_ms // 1000))
        if refused.code is Code.BAD_TOKEN:
            response.headers["WWW-Authenticate"] = "Bearer"
        self._answer(handshake, response)

    def _answer(self, handshake: ServerProtocol, response: Response | None) -> None:
        transport = self._up()
        if response is not None:
            self._host.count_handshake(response.status_code)
            handshake.send_response(response)
        data = b"".join(handshake.data_to_send())
        if not transport.is_closing():
            transport.write(data)
        transport.close()

    # Frames

    def take_in(self, data: bytes) -> None:
        """Handle what the socket brought. A fault of ours ends this connection."""
        try:
            if self._reader is not None:
                self._feed(self._reader, data)
        except Exception as error:
            self._fault(error)

    def pause_reading(self) -> None:
        """Leave in the socket what comes from now on."""
        if not self._up().is_closing():
            self._up().pause_reading()

    def resume_reading(self) -> None:
        """Read on, if the socket is still there."""
        if not self._up().is_closing():
            self._up().resume_reading()

    def _feed(self, reader: FrameReader, data: bytes) -> None:
        transport, parser = self._up(), reader.parser
        if transport.is_closing():
            return
        messages = reader.feed(data)
        session = self._session
        if session is not None:
            self._host.heard(session, max(1, len(messages) + reader.odd))
            self._host.frames(session, messages)
        if parser.writes:
            transport.write(b"".join(parser.data_to_send()))
            if parser.eof_sent:
                transport.close()
        self._host.flush()

    # The end

    def _close(self, code: CloseCode) -> None:
        ws, transport = self._parser, self._up()
        if ws is None or ws.state is not WebSocketState.OPEN or transport.is_closing():
            return
        self._host.count_close(code)
        ws.send_close(int(code), code.text)
        transport.write(b"".join(ws.data_to_send()))
        self._host.watch(self)

    def _count(self, ip: str) -> bool:
        """Count this socket under another ip than before. False: there are too many from there."""
        self._uncount()
        if not self._host.enter(ip):
            return False
        self._ip = ip
        return True

    def _uncount(self) -> None:
        ip, self._ip = self._ip, None
        if ip is not None:
            self._host.leave(ip)

    def _fault(self, error: Exception) -> None:
        """A fault of ours: counted, logged, and the end of this connection only."""
        self._host.count_fault()
        log.error("connection failed", exc_info=error)
        ws, transport = self._parser, self._transport
        if transport is None or transport.is_closing():
            return
        if ws is not None and ws.state is WebSocketState.OPEN:
            ws.fail(_FAULT)
            transport.write(b"".join(ws.data_to_send()))
        transport.close()

    @property
    def _parser(self) -> WebSocket | None:
        return self._reader.parser if self._reader is not None else None

    def _up(self) -> asyncio.Transport:
        if self._transport is None:
            raise RuntimeError("the connection was never made")
        return self._transport


def _is_upgrade(head: bytes) -> bool:
    """Whether this request head asks for the WebSocket; what it says in full is read by the library."""
    line, _, fields = head.partition(b"\r\n")
    method, _, target = line.partition(b" ")
    path = target.partition(b" ")[0].partition(b"?")[0]
    upgrade = b"\r\nupgrade:" in b"\r\n" + fields.lower()
    return method == b"GET" and upgrade and path == WEBSOCKET_PATH.encode()


def _select_nothing(_: ServerProtocol, __: Sequence[Subprotocol]) -> Subprotocol | None:
    """The subprotocol is chosen with the rest of the opening (`handshake.py`)."""
    return None
