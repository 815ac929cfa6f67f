"""One client's session: what it may do, what it owes, what it is owed. Pure: bytes and times in, bytes out.

OPENING ─welcome→ OPEN ─cut→ CUT ─welcome→ OPEN (resumed)
    └────end────────┴──end────┴───end→ CLOSED
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol, cast

from gateway.ack_window import AckWindow
from gateway.answers import refused_frame, sent_frame
from gateway.auth import LEEWAY_MS, Principal
from gateway.outbox import Outbox
from gateway.progress import Progress
from gateway.requests import Said
from gateway.session_rules import SessionRules
from gateway.throttle import PATIENCE, UNLIMITED, TokenBucket
from gateway.waiting import Waiting
from gateway.wire import Delivery, frame_bytes
from schemas.codes import CloseCode, Code
from schemas.errors import Refused
from schemas.frames import (
    ClientFrame,
    Edit,
    Error,
    FrameCodec,
    Kicked,
    React,
    Recall,
    Rejected,
    RequestId,
    Send,
    Sent,
    ServerFrame,
    Welcome,
    peek_frame,
)
from schemas.records import Message

__all__ = ["TRANSITIONS", "Link", "Session", "State"]

_OFFENCES: Final = frozenset({Code.BAD_FRAME, Code.FRAME_TOO_LARGE, Code.UNKNOWN_TYPE})
_SAID: Final = frozenset({Send, Recall, Edit, React})
_SAID_TYPES: Final = frozenset(str(f.__struct_config__.tag) for f in _SAID)
_FULL_MS: Final = 500
_SILENCE: Final = 1.5
"""Heartbeats."""
_RESUMABLE: Final = frozenset({CloseCode.HEARTBEAT_LOST, CloseCode.DRAIN})


class State(Enum):
    """Where a session is in its life."""

    OPENING = "opening"
    """Registered, so that it misses nothing; not welcomed yet, so deliveries wait."""
    OPEN = "open"
    CUT = "cut"
    """The connection is gone; deliveries are kept for a resume."""
    CLOSED = "closed"


TRANSITIONS: Final[dict[tuple[State, str], State]] = {
    (State.OPENING, "welcome"): State.OPEN,
    (State.OPEN, "cut"): State.CUT,
    (State.CUT, "welcome"): State.OPEN,
    (State.OPENING, "end"): State.CLOSED,
    (State.OPEN, "end"): State.CLOSED,
    (State.CUT, "end"): State.CLOSED,
    (State.CLOSED, "end"): State.CLOSED,
}


class Link(Protocol):
    """The connection of a session, as the gateway needs it."""

    def write_out(self) -> None:
        """Write everything the session has put, and close if it asks for it."""

    def leave(self, code: CloseCode) -> None:
        """Close with this code; the session goes on without this connection."""


class Session:
    """The state machine of one device's login.

    Order: frames leave in the order they were put. Repeats: a delivery is repeated with its `n`
    until it is acknowledged. Limits: everything it holds is bounded by `SessionRules`.
    `touched` is the shell's list of sessions with something to write or to close.
    """

    __slots__ = (
        "_frames_full_at",
        "_patience",
        "_requests",
        "_touched",
        "closing",
        "codec",
        "cut_at",
        "device_id",
        "heard_at",
        "heartbeat_s",
        "id",
        "ip",
        "link",
        "outbox",
        "platform",
        "principal",
        "progress",
        "rules",
        "running",
        "since_ms",
        "state",
        "waiting",
        "window",
    )

    def __init__(
        self,
        session_id: str,
        principal: Principal,
        device_id: str,
        platform: str,
        codec: FrameCodec,
        rules: SessionRules,
        touched: list[Session],
        now: float,
    ) -> None:
        self.id = session_id
        self.ip = ""
        """From where it was opened, as limits name it."""
        self.principal = principal
        self.device_id = device_id
        self.platform = platform
        self.codec = codec
        self.rules = rules
        self.heartbeat_s = rules.heartbeat_s
        """After half as long again in silence its connection is given up."""
        self.state = State.OPENING
        self.window = AckWindow()
        self.outbox = Outbox()
        self.closing: CloseCode | None = None
        self.heard_at = now
        self.cut_at = now
        self.since_ms = 0
        self.waiting = Waiting()
        self.running = 0
        """Requests that are being answered from a store."""
        self.link: Link | None = None
        """The connection that carries this session now."""
        self.progress = Progress()
        self._touched = touched
        self._frames_full_at = now
        self._requests: TokenBucket | None = None
        self._patience: TokenBucket | None = None

    @property
    def user_id(self) -> str:
        return self.principal.user_id

    # From the client

    def receive(self, data: bytes, text: bool, now: float) -> ClientFrame:
        """A frame of the client. Raises `Refused` for one that does not fit the protocol."""
        self.heard_at = now
        if len(data) > self.rules.limits.max_frame_bytes:
            raise Refused(Code.FRAME_TOO_LARGE)
        if text is not self.codec.text:
            form = "text" if self.codec.text else "binary"
            raise Refused(Code.BAD_FRAME, f"{self.codec.subprotocol} is spoken in {form} frames")
        return self.codec.parse_client(data)

    def hear(self, frames: int, now: float) -> None:
        """The socket brought something; `frames` counts fragments and pings too. Too many: closed with 4503.

        The generic cell rate algorithm: one number a session, and idle ones cost nothing."""
        self.heard_at = now
        rate = self.rules.frames
        if rate is UNLIMITED or self.principal.is_server:
            return
        self._frames_full_at = max(self._frames_full_at, now) + frames / rate.per_s
        if self._frames_full_at - now > rate.burst / rate.per_s:
            self.close(CloseCode.PROTOCOL_ERROR)

    def admit_request(self, now: float) -> None:
        """Count a request that is answered from a store. Raises `Refused` above the rate."""
        if self.principal.is_server:
            return
        if self._requests is None:
            self._requests = TokenBucket(self.rules.requests, now)
        if wait_ms := self._requests.take(self.rules.requests, now):
            raise Refused(Code.RATE_LIMITED, retry_after_ms=wait_ms)

    def admit_send(self) -> None:
        """Whether one more send may wait for its `accepted`. Raises `Refused` with OVERLOADED."""
        if self.waiting.is_full(self.rules.limits.max_inflight):
            raise Refused(Code.OVERLOADED, retry_after_ms=_FULL_MS)

    def acknowledge(self, n: int) -> list[Delivery]:
        """The client has everything up to `n`. Raises `Refused` for an `n` that was never sent."""
        return self.window.ack(n)

    def refuse(self, refused: Refused, data: bytes, now: float, frame: ClientFrame | None = None) -> None:
        """Answer a frame that is not handled; who offends repeatedly is closed with 4503.

        `frame`: as it was read, if it could be. A send, of which many are refused, is read no second time.
        """
        if type(frame) in _SAID:
            said = cast(Said, frame)
            self.send(refused_frame(said.client_msg_id, said.conversation_id, refused, said.id))
        else:
            re, client_msg_id, conversation_id = peek_frame(self.codec, data)
            if client_msg_id is not None and self.codec.peek(data).type in _SAID_TYPES:
                self.send(refused_frame(client_msg_id, conversation_id or "", refused, re))
            else:
                self.send(Error.of(refused, re))
        self._offend(refused, now)

    def refuse_request(self, refused: Refused, re: RequestId | None, now: float) -> None:
        """Answer a request that was understood and is not fulfilled."""
        self.send(Error.of(refused, re))
        self._offend(refused, now)

    def _offend(self, refused: Refused, now: float) -> None:
        if self._patience is None:
            self._patience = TokenBucket(PATIENCE, now)
        if self._patience.take(PATIENCE, now, 1.0 if refused.code in _OFFENCES else 0.02):
            self.close(CloseCode.PROTOCOL_ERROR)

    # Answers to sends and requests

    def accepted(self, client_msg_id: str, at_ms: int) -> None:
        """The log has it."""
        self._tell(self.waiting.accepted(client_msg_id, at_ms))

    def refused(self, client_msg_id: str, conversation_id: str, refused: Refused) -> None:
        """The log did not take it, for sure."""
        self.waiting.inflight -= 1
        self.rejected(refused_frame(client_msg_id, conversation_id, refused))

    def sent(self, message: Message) -> None:
        """A message of this session has its place in the order."""
        self.answer_sent(sent_frame(message))

    def answer_sent(self, sent: Sent) -> None:
        self._tell(self.waiting.sent(sent))

    def rejected(self, rejected: Rejected) -> None:
        """A send or request of this session is refused, by the gateway or by moderation."""
        self._tell(self.waiting.rejected(rejected))

    def _tell(self, answer: ServerFrame | None) -> None:
        if answer is not None:
            self.send(answer)

    # To the client

    def deliver(self, delivery: Delivery) -> None:
        """Hand over messages: now, or with the welcome if there is no connection at the moment."""
        if self.state is State.CLOSED:
            return
        n = self.window.push(delivery)
        if self.state is State.OPEN:
            self.put(delivery.frame(n, self.codec.text))
        if self.window.is_full(self.rules.unacked_bytes):
            self.close(CloseCode.SLOW_READER)

    def send(self, frame: ServerFrame) -> None:
        self.put(frame_bytes(self.codec, self.codec.encode(frame)))

    def put(self, frame: bytes) -> None:
        """A whole frame, durable: kept through a cut."""
        if self.state is State.CLOSED:
            return
        if not self.outbox:
            self._touched.append(self)
        self.outbox.put(frame)
        if self.state is State.CUT and self.outbox.size_bytes > self.rules.outbox_bytes:
            self.end()

    def put_ephemeral(self, frame: bytes) -> bool:
        """A frame that may be lost: dropped for a slow reader and while there is no connection."""
        if self.state is not State.OPEN or self.outbox.congested:
            return False
        self.put(frame)
        return True

    def close(self, code: CloseCode) -> None:
        """Ask the shell to close the connection after what is in the outbox."""
        if self.state is State.OPEN and self.closing is None:
            if code is CloseCode.KICKED:
                self.send(Kicked(code=code, reason=code.text))
            self.closing = code
            self._touched.append(self)
        elif self.state is not State.OPEN:
            self.end()

    # Life

    def welcome(self, now: float, now_ms: int) -> None:
        """A connection carries this session now: `welcome`, then whatever is outstanding."""
        resumed = self.state is State.CUT
        self._move("welcome")
        held = self.outbox.take() if self.outbox else b""
        self.heard_at = now
        self.closing = None
        self.send(
            Welcome(
                user_id=self.user_id,
                session_id=self.id,
                gateway_id=self.rules.gateway_id,
                server_time_ms=now_ms,
                heartbeat_s=self.heartbeat_s,
                resumed=resumed,
                limits=self.rules.limits,
            )
        )
        self.window.restart(now)
        for n, delivery in self.window.unacked():
            self.put(delivery.frame(n, self.codec.text))
        if held:
            self.put(held)

    def cut(self, now: float, by_client: bool) -> None:
        """The connection is gone. A session that was closed for a reason, or left politely, ends."""
        if self.state is not State.OPEN or by_client or (self.closing and self.closing not in _RESUMABLE):
            self.end()
            return
        self._move("cut")
        self.cut_at = now
        self.link = None
        self.outbox = Outbox()

    def end(self) -> None:
        self._move("end")
        self.link = None

    def tick(self, now: float, now_ms: int) -> None:
        """What happens by time alone: silence, unacked deliveries, the token's end, the resume window."""
        if self.state is State.CUT:
            if now - self.cut_at > self.rules.resume_window_s:
                self.end()
        elif self.state is State.OPEN and self.closing is None:
            if now - self.heard_at > _SILENCE * self.heartbeat_s:
                self.close(CloseCode.HEARTBEAT_LOST)
            elif now_ms > self.principal.expires_at_ms + LEEWAY_MS:
                self.close(CloseCode.BAD_TOKEN)
            else:
                self._retransmit(now)

    def _retransmit(self, now: float) -> None:
        due = self.window.due(now, self.rules.ack_timeout_s)
        if not due:
            return
        if not self.window.retry(now, self.rules.ack_tries):
            self.close(CloseCode.ACK_TIMEOUT)
            return
        for n, delivery in due:
            self.put(delivery.frame(n, self.codec.text))

    def _move(self, event: str) -> None:
        self.state = TRANSITIONS[self.state, event]
