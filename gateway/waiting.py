"""What a session waits for: which answer goes with which request. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from schemas.frames import Accepted, Error, Ok, Rejected, RequestId, Sent, ServerFrame

__all__ = ["MAX_WAITING", "Waiting"]

MAX_WAITING: Final = 4_096
"""Requests of one session whose place in the order is awaited; above it 1302."""
_ANSWERED: Final = 64
"""Requests and refused tries of one session whose answers are known to be repeats."""


class _Ask(msgspec.Struct, frozen=True, gc=False):
    """What the answer to a client_msg_id must carry; `request`: it is answered by `ok` or `error`."""

    re: RequestId | None
    request: bool


class Waiting:
    """Turns what the log and the pipeline say into the frames the client waits for.

    Only sends with an `id` and requests are remembered; for the others, and for their repeats, what comes
    is passed on as it is. A request is answered once: its client_msg_id is the gateway's own, so a client
    could make nothing of a repeat. A try is refused once: said again by a worker that took over, that would
    be taken for the answer to a later try.
    """

    __slots__ = ("_answered", "_asks", "inflight")

    def __init__(self) -> None:
        self.inflight = 0
        """Sends without their `accepted`."""
        self._asks: dict[str, _Ask] | None = None
        self._answered: deque[str] | None = None

    def is_full(self, max_inflight: int) -> bool:
        return self.inflight >= max_inflight or (self._asks is not None and len(self._asks) >= MAX_WAITING)

    def expect(self, client_msg_id: str, re: RequestId | None, request: bool) -> None:
        self.inflight += 1
        if re is not None or request:
            if self._asks is None:
                self._asks = {}
            self._asks[client_msg_id] = _Ask(re, request)

    def accepted(self, client_msg_id: str, at_ms: int) -> Accepted | None:
        """The log has it. None for a request: it waits on for its place in the order, or has been answered
        already, if the log took long to say so."""
        self.inflight -= 1
        ask = self._asks.get(client_msg_id) if self._asks else None
        if ask is None:
            if self._is_answered(client_msg_id):
                return None
            return Accepted(client_msg_id=client_msg_id, accepted_at_ms=at_ms)
        return None if ask.request else Accepted(client_msg_id=client_msg_id, accepted_at_ms=at_ms, re=ask.re)

    def sent(self, sent: Sent) -> ServerFrame | None:
        """It has its place. None: this was said before."""
        ask = self._pop(sent.client_msg_id)
        if ask is None:
            return None if self._is_answered(sent.client_msg_id) else sent
        if ask.request:
            return Ok(re=ask.re, conversation_id=sent.conversation_id)
        return msgspec.structs.replace(sent, re=ask.re)

    def rejected(self, rejected: Rejected) -> ServerFrame | None:
        """It is refused. None: this was said before."""
        if rejected.message_id is not None:
            if self._is_answered(rejected.message_id):
                return None
            self._note_answered(rejected.message_id)
        ask = self._pop(rejected.client_msg_id)
        if ask is None:
            return None if self._is_answered(rejected.client_msg_id) else rejected
        if not ask.request:
            return msgspec.structs.replace(rejected, re=ask.re)
        return Error(
            code=rejected.code,
            name=rejected.name,
            message=rejected.message,
            temporary=rejected.temporary,
            retry_after_ms=rejected.retry_after_ms,
            re=ask.re,
        )

    def _pop(self, client_msg_id: str) -> _Ask | None:
        ask = self._asks.pop(client_msg_id, None) if self._asks else None
        if ask is not None and ask.request:
            self._note_answered(client_msg_id)
        return ask

    def _note_answered(self, name: str) -> None:
        if self._answered is None:
            self._answered = deque(maxlen=_ANSWERED)
        self._answered.append(name)

    def _is_answered(self, name: str) -> bool:
        return self._answered is not None and name in self._answered
