"""An echo over the gateway's own connections and frame reader, for what tests WebSocket itself.

python -m tests.gateway.echo_server        prints the port it listens on, and serves until it is ended
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from websockets.http11 import Request

from gateway.auth import Principal
from gateway.connection import Connection
from gateway.handshake import Opening
from gateway.intake import Intake
from gateway.session import Session
from gateway.session_rules import SessionRules
from gateway.wire import frame_header
from infra.settings import Settings
from schemas.codes import CloseCode
from schemas.frames import JSON

__all__ = ["EchoHost"]

LIMIT_BYTES = 4 << 20


class EchoHost:
    """What a connection needs of its gateway: everybody may come in, and hears himself."""

    max_frame_bytes = LIMIT_BYTES
    outbox_bytes = 16 * LIMIT_BYTES
    max_fragments = 1_000_000

    def __init__(self) -> None:
        self.intake = Intake(time.monotonic)
        self._touched: list[Session] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._rules = SessionRules.of(Settings())

    def enter(self, _: str) -> bool:
        return True

    def leave(self, ip: str) -> None: ...

    def peer_of(self, _: object) -> str:
        return "127.0.0.1"

    def watch(self, connection: Connection) -> None:
        """Nobody is slow here."""

    def unwatch(self, connection: Connection) -> None: ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def opening_of(self, _: Request, __: object) -> Opening:
        return Opening("", "device", "web", "", JSON, None, "127.0.0.1")

    async def admit(self, _: Opening) -> Session:
        principal = Principal("echo", "server", "", 2**50)
        return Session("s", principal, "device", "web", JSON, self._rules, self._touched, 0.0)

    def welcome(self, session: Session, connection: Connection) -> bool:
        session.link = connection
        return True

    def frames(self, session: Session, messages: Sequence[tuple[bytes, bool]]) -> None:
        for data, text in messages:
            session.outbox.put(frame_header(text, len(data)) + data)
        self._touched.append(session)

    def heard(self, session: Session, frames: int) -> None: ...

    def gone(self, session: Session, by_client: bool) -> None: ...

    def flush(self) -> None:
        for session in self._touched:
            if isinstance(session.link, Connection):
                session.link.write_out()
        self._touched.clear()

    def count_handshake(self, status: int) -> None: ...

    def count_connections(self, change: int) -> None: ...

    def count_close(self, code: CloseCode) -> None: ...

    def count_fault(self) -> None:
        sys.stderr.write("a fault of ours\n")

    def http_handler(self) -> asyncio.Protocol | None:
        return None


async def _serve() -> None:
    host = EchoHost()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(host), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
