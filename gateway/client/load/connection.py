"""One client of the load generator: a socket, a parser for what it must see, and its ledgers.

The hot path of the generator, so written for the processor: no coroutine, no object and no decoding per
frame that can be spared. A one-to-one message costs about 20 µs here, from send to delivery.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, cast

import msgspec

from gateway.client.load.ledger import SendLedger, SeqLedger
from gateway.client.load.tails import Delivered, TailBook
from gateway.client.load.wire import (
    CLOSE,
    PING,
    TEXT,
    client_frame,
    mark_due_us,
    send_frame,
    upgrade_request,
)
from schemas.errors import Unavailable

__all__ = ["Answers", "LoadConnection", "now_us"]

ACK_EVERY: Final = 64
_PONG: Final = 0xA
_KIND: Final = slice(9, 12)
_N_AT: Final = len('{"type":"deliver","n":')


class _Accepted(msgspec.Struct, frozen=True, gc=False):
    client_msg_id: str


class _Sent(msgspec.Struct, frozen=True, gc=False):
    client_msg_id: str
    seq: int


class _Rejected(msgspec.Struct, frozen=True, gc=False):
    code: int
    temporary: bool
    retry_after_ms: int | None = None


class _Welcome(msgspec.Struct, frozen=True, gc=False):
    session_id: str
    heartbeat_s: int
    resumed: bool


_ACCEPTED = msgspec.json.Decoder(_Accepted).decode
_SENT = msgspec.json.Decoder(_Sent).decode
_REJECTED = msgspec.json.Decoder(_Rejected).decode
_WELCOME = msgspec.json.Decoder(_Welcome).decode
_DELIVERED = msgspec.json.Decoder(Delivered).decode


def now_us() -> int:
    """The machine's monotonic clock: the same in every process."""
    return time.monotonic_ns() // 1_000


class Answers:
    """What the connections of a process measured; only messages due in the window count."""

    def __init__(self) -> None:
        self.from_us = 0
        self.until_us = 0
        self.accepted_us: list[int] = []
        self.sent_us: list[int] = []
        self.delivered_us: list[int] = []
        self.delivered_in_window = 0
        self.late_us: list[int] = []
        self.rejections: dict[int, int] = {}
        self.untimed = 0
        self.last_frame_us = 0

    def note(self, samples: list[int], client_msg_id: str, now: int) -> None:
        due = mark_due_us(client_msg_id)
        if self.from_us <= due < self.until_us:
            samples.append(now - due)

    def reject(self, rejected: _Rejected) -> None:
        self.rejections[rejected.code] = self.rejections.get(rejected.code, 0) + 1
        self.untimed += rejected.temporary and not rejected.retry_after_ms


class LoadConnection(asyncio.Protocol):
    """Connects, then counts and times what comes. `book`: deliveries are shared with other connections."""

    def __init__(self, answers: Answers, run: str, base: int = 1, book: TailBook | None = None) -> None:
        self.sends = SendLedger()
        self.seqs = SeqLedger(base)
        self.session_id: str | None = None
        self.resumed = False
        self.heartbeat_s = 30
        self.close_code: int | None = None
        self._answers = answers
        self._run = run
        self._book = book
        self._guess = 0
        self._made = False
        self._open = False
        self._rest = b""
        self._n = 0
        self._acked = 0
        self._frame = (b"", b"")
        self._welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport

    async def connect(
        self, host: str, port: int, token: str, timeout_s: float, session_id: str | None = None
    ) -> None:
        """Open the connection and wait for `welcome`. Raises `Unavailable` that says what came instead."""
        request = upgrade_request(host, port, token, session_id)
        try:
            async with asyncio.timeout(timeout_s):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: self, host, port)
                self._transport.write(request)
                await self._welcomed
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"no welcome from {host}:{port}: {str(error) or 'too slow'}") from error

    def speak_in(self, sender: int, conversation_id: str, text: str) -> None:
        """Prepare the sends of this connection."""
        self._frame = send_frame(self._run, sender, conversation_id, text)

    def send(self, due_us: int) -> None:
        """Write the next message, which was due at `due_us`."""
        head, tail = self._frame
        self._transport.write(b"%b%07d%016d%b" % (head, self.sends.sends, due_us, tail))
        self.sends.sends += 1

    def ack(self) -> None:
        """Acknowledge what was delivered since the last time."""
        if self._n != self._acked and self.close_code is None:
            self._acked = self._n
            self._transport.write(client_frame(b'{"type":"ack","n":%d}' % self._n))

    def ping(self) -> None:
        """Show that this client lives."""
        if self._open and self.close_code is None:
            self._transport.write(client_frame(b'{"type":"ping"}'))

    def drop(self) -> None:
        """Cut the connection as a lost network does: without a goodbye. Nothing, if there was none."""
        if self._made:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made = True
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 asyncio names it
        self.close_code = self.close_code or 1006
        if not self._welcomed.done():
            self._welcomed.set_exception(Unavailable(f"the connection ended with {self.close_code}"))

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        position = 0 if self._open else self._read_upgrade(data)
        position = self._read_frames(data, position) if self._open else position
        self._rest = data[position:] if position < len(data) else b""

    # Reading

    def _read_upgrade(self, data: bytes) -> int:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return 0
        if not data.startswith(b"HTTP/1.1 101"):
            self._fail(data[: data.find(b"\r\n")].decode(errors="replace"))
            return len(data)
        self._open = True
        return end + 4

    def _read_frames(self, data: bytes, position: int) -> int:
        """Handle every whole frame; returns where the first incomplete one begins."""
        now = self._answers.last_frame_us = now_us()
        size = len(data)
        while size - position >= 2:
            length = data[position + 1]
            start = position + 2
            if length == 126:
                length = int.from_bytes(data[start : start + 2], "big")
                start += 2
            elif length == 127:
                length = int.from_bytes(data[start : start + 8], "big")
                start += 8
            end = start + length
            if end > size or start > size:
                break
            opcode = data[position] & 0xF
            if opcode == TEXT:
                self._read_text(data, start, end, now)
            elif opcode == PING:
                self._transport.write(client_frame(data[start:end], _PONG))
            elif opcode == CLOSE:
                self.close_code = int.from_bytes(data[start : start + 2], "big") or 1005
            position = end
        return position

    def _read_text(self, data: bytes, start: int, end: int, now: int) -> None:
        kind = data[start + 9 : start + 12]
        if kind == b"del":
            self._deliver(data, start, end, now)
        elif kind == b"acc":
            self._answers.note(self._answers.accepted_us, _ACCEPTED(data[start:end]).client_msg_id, now)
        elif kind == b"sen":
            sent = _SENT(data[start:end])
            if self.sends.sent(int(sent.client_msg_id[13:20]), sent.seq):
                self.seqs.own(sent.seq)
                self._answers.note(self._answers.sent_us, sent.client_msg_id, now)
        elif kind == b"rej":
            self.sends.rejected += 1
            self._answers.reject(_REJECTED(data[start:end]))
        elif kind == b"wel":
            self._welcome(data[start:end])

    def _deliver(self, data: bytes, start: int, end: int, now: int) -> None:
        if self._book is None:
            self._deliver_own(data[start:end], now)
        else:
            cut = data.find(b",", start + _N_AT, end)
            tail = self._book.find(data, cut, end, self._guess)
            self._guess = tail.place + 1
            self._n = int(data[start + _N_AT : cut])
            tail.arrivals_us.append(now)
            if tail.contiguous:
                self.seqs.delivered(tail.first, tail.last)
            else:
                for seq in tail.seqs:
                    self.seqs.delivered(seq, seq)
        if self._n - self._acked >= ACK_EVERY:
            self.ack()

    def _deliver_own(self, payload: bytes, now: int) -> None:
        delivered = _DELIVERED(payload)
        self._n = delivered.n
        answers = self._answers
        for message in delivered.messages:
            self.seqs.delivered(message.seq, message.seq)
            if message.client_msg_id.startswith(self._run):
                answers.note(answers.delivered_us, message.client_msg_id, now)
        if answers.from_us <= now < answers.until_us:
            answers.delivered_in_window += len(delivered.messages)

    def _welcome(self, payload: bytes) -> None:
        welcome = _WELCOME(payload)
        self.session_id = welcome.session_id
        self.heartbeat_s = welcome.heartbeat_s
        self.resumed = welcome.resumed
        if not self._welcomed.done():
            self._welcomed.set_result(None)

    def _fail(self, reason: str) -> None:
        if not self._welcomed.done():
            self._welcomed.set_exception(Unavailable(f"refused: {reason}"))
        self._transport.abort()
