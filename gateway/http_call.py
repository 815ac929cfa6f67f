"""Requests over HTTP that wait for their place in the order, as a session would."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from gateway.answers import refused_frame, sent_frame
from gateway.auth import Principal
from gateway.health import Health
from gateway.hub import Hub
from gateway.limits.guard import Guard
from gateway.limits.priority import Priority
from gateway.requests import Announcement, Author, Change, Said, inbound_of, is_request
from gateway.uplink import Uplink
from infra.clock import Clock
from schemas.codes import Code
from schemas.errors import Refused
from schemas.frames import Accepted, Rejected, Sent
from schemas.ids import new_name
from schemas.records import Message

__all__ = ["HttpCall", "HttpCalls"]

SENT_WAIT_S: Final = 5.0
MAX_CALLS: Final = 2_000
"""Requests that wait for their place in the order at a time; above it 503."""


class HttpCall:
    """Takes the answers to one record: `taken` is set once the log has it, `answer` once its end is known."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Sent | Rejected] = loop.create_future()
        self.taken: Accepted | None = None

    def accepted(self, client_msg_id: str, at_ms: int) -> None:
        self.taken = Accepted(client_msg_id=client_msg_id, accepted_at_ms=at_ms)

    def refused(self, client_msg_id: str, conversation_id: str, refused: Refused) -> None:
        self.rejected(refused_frame(client_msg_id, conversation_id, refused))

    def sent(self, message: Message) -> None:
        self.answer_sent(sent_frame(message))

    def answer_sent(self, sent: Sent) -> None:
        self._finish(sent)

    def rejected(self, rejected: Rejected) -> None:
        self._finish(rejected)

    async def outcome(self, timeout_s: float) -> Sent | Rejected | Accepted | None:
        """The end; after the timeout `Accepted` if the log has it, None if even that is not known."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self.answer
        except TimeoutError:
            return self.taken

    def _finish(self, end: Sent | Rejected) -> None:
        if not self.answer.done():
            self.answer.set_result(end)


class HttpCalls:
    """Gives requests to the log, each under a session id of its own: its answer reaches nobody else."""

    def __init__(
        self, gateway_id: str, hub: Hub, uplink: Uplink, guard: Guard, health: Health, clock: Clock
    ) -> None:
        self._gateway_id = gateway_id
        self._hub = hub
        self._uplink = uplink
        self._guard = guard
        self._health = health
        self._clock = clock

    def _admit(self, principal: Principal, ip: str, frame: Said | Change | Announcement) -> None:
        if isinstance(frame, Announcement):
            self._guard.admit_send(principal, ip, frame.conversation_id, Priority.BROADCAST)
        else:
            conversation_id = "" if is_request(frame) else cast(Said, frame).conversation_id
            self._guard.admit_send(principal, ip, conversation_id)

    async def submit(
        self,
        principal: Principal,
        ip: str,
        frame: Said | Change | Announcement,
        traceparent: str | None = None,
    ) -> Sent | Rejected | Accepted:
        """How it ended, or `Accepted` after `SENT_WAIT_S`. Raises `Refused` for what was not taken."""
        if self._health.draining:
            raise Refused(Code.UNAVAILABLE, retry_after_ms=1_000)
        self._admit(principal, ip, frame)
        if len(self._hub.callers) >= MAX_CALLS:
            raise Refused(Code.OVERLOADED, retry_after_ms=1_000)
        author = Author(principal.user_id, self._gateway_id, new_name())
        inbound = inbound_of(frame, author, self._clock.now_ms())
        call = HttpCall()
        self._hub.callers[author.session_id] = call
        try:
            self._uplink.submit(call, inbound, traceparent)
            end = await call.outcome(SENT_WAIT_S)
        finally:
            del self._hub.callers[author.session_id]
        if end is None:
            raise Refused(Code.UNAVAILABLE, "the outcome is not known yet; send it again with the same id")
        return end
