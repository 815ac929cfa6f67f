"""What a raw client hears: every frame goes to the journal first, then into what the client knows."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Any, Final

from schemas import frames
from schemas.errors import Refused
from schemas.frames import FrameCodec, ServerFrame
from tests.faults import history
from tests.faults.history import strays
from tests.faults.workload.holes import Holes
from tests.faults.workload.journal import Journal, all_seen, row_of
from tests.faults.workload.outgoing import Outgoing

__all__ = ["Asked", "Hearing"]

RETRY_S: Final = 0.3
Answer = frames.Page | frames.HistoryPage | frames.Ok | frames.Error


@dataclass(slots=True)
class Asked:
    """A question on its way."""

    answer: asyncio.Future[Answer]
    asked_t: float
    after: int = -1


class Hearing:
    """One user's device through all its connections: what it was told so far."""

    def __init__(self, user: str, journal: Journal, random: Random) -> None:
        self.outgoing = Outgoing()
        self.holes = Holes()
        self.own: deque[tuple[str, int]] = deque(maxlen=50)
        """Own messages: where they stand."""
        self.asked: dict[str, Asked] = {}
        self.sync_token = ""
        self.level = False
        """Whether this session has synced to the end, so that a pong's token speaks for everything."""
        self.delivered = 0
        self.leave_at = inf
        """When to go elsewhere (monotonic seconds), because the gateway is being drained."""
        self._user = user
        self._journal = journal
        self._random = random

    def take(self, codec: FrameCodec, raw: bytes) -> ServerFrame | None:
        """One frame from the wire."""
        try:
            frame = codec.parse_server(raw)
        except Refused:
            self._log(history.Other, frame="unreadable", strays=strays(raw))
            return None
        match frame:
            case frames.Deliver():
                self._deliver(frame, raw)
            case frames.Accepted():
                self._log(history.Accepted, client_msg_id=frame.client_msg_id)
            case frames.Sent():
                self._sent(frame)
            case frames.Rejected():
                self._rejected(frame)
            case frames.Pong():
                self._pong(frame, raw)
            case frames.Drain():
                self.leave_at = time.monotonic() + frame.reconnect_after_ms / 1000
            case frames.Receipt():
                self._receipt(frame, raw)
            case frames.Page() | frames.HistoryPage() | frames.Ok() | frames.Error():
                self._answered(frame, raw)
            case _:
                self._other(frame, raw)
        return frame

    def _deliver(self, frame: frames.Deliver, raw: bytes) -> None:
        seen = all_seen(frame.messages)
        self._log(history.Deliver, n=frame.n, messages=seen, strays=strays(raw, seen))
        self.delivered = max(self.delivered, frame.n)
        for message in frame.messages:
            self._have(message, "seq")

    def _sent(self, frame: frames.Sent) -> None:
        self._log_sent(frame)
        self.holes.have_sent(frame.conversation_id, frame.seq, time.monotonic())
        letter = self.outgoing.finish(frame.client_msg_id)
        if letter is not None and isinstance(letter.frame, frames.Send):
            self.own.append((frame.conversation_id, frame.seq))

    def _rejected(self, frame: frames.Rejected) -> None:
        self._log(
            history.Rejected,
            client_msg_id=frame.client_msg_id,
            conversation=frame.conversation_id,
            code=frame.code,
            temporary=frame.temporary,
        )
        letter = self.outgoing.get(frame.client_msg_id)
        if letter is not None and frame.temporary:
            pause_s = (RETRY_S + (frame.retry_after_ms or 0) / 1000) * (1 + self._random.random())
            self.outgoing.try_again(letter, time.monotonic() + pause_s)
        else:
            self.outgoing.finish(frame.client_msg_id)

    def _pong(self, frame: frames.Pong, raw: bytes) -> None:
        self._log(history.Pong, heads=frame.heads, token=frame.token, strays=strays(raw))
        if self.level and frame.token:
            self.sync_token = frame.token
        for conversation, head in frame.heads.items():
            self.holes.know_head(conversation, head, time.monotonic())

    def _receipt(self, frame: frames.Receipt, raw: bytes) -> None:
        self._log(
            history.Receipt,
            conversation=frame.conversation_id,
            user=frame.user_id,
            delivered_seq=-1 if frame.delivered_seq is None else frame.delivered_seq,
            read_seq=-1 if frame.read_seq is None else frame.read_seq,
            strays=strays(raw),
        )

    def _other(self, frame: ServerFrame, raw: bytes) -> None:
        if isinstance(frame, frames.TypingServer):
            where = {"conversation": frame.conversation_id, "user": frame.user_id}
            self._log(history.Typing, **where, strays=strays(raw))
        elif found := strays(raw):
            self._log(history.Other, frame=type(frame).__name__, strays=found)

    def _answered(self, frame: Answer, raw: bytes) -> None:
        asked = self.asked.pop(str(frame.re), None)
        match frame:
            case frames.Page():
                self._page(frame, raw, asked)
            case frames.HistoryPage():
                self._history(frame, raw, asked)
            case frames.Error():
                self._answer(frame, frame.code, frame.temporary, raw)
            case frames.Ok():
                self._answer(frame, 0, False, raw)
        if asked is not None and not asked.answer.done():
            asked.answer.set_result(frame)

    def _answer(self, frame: frames.Ok | frames.Error, code: int, temporary: bool, raw: bytes) -> None:
        request = str(frame.re)
        self._log(history.Answer, request=request, code=code, temporary=temporary, strays=strays(raw))

    def _page(self, page: frames.Page, raw: bytes, asked: Asked | None) -> None:
        """A page that was asked for before the connection was cut may still come, after that to the next
        question: its messages count, its list and its token are older than what is known."""
        seen = all_seen(page.messages)
        lasts = [c.last_message for c in page.conversations if c.last_message is not None]
        self._log(
            history.Page,
            messages=seen,
            request=str(page.re),
            asked_t=asked.asked_t if asked is not None else 0.0,
            conversations=[row_of(conversation) for conversation in page.conversations] if asked else [],
            token=page.token,
            more=page.more,
            reset=page.reset,
            strays=strays(raw, [*seen, *all_seen(lasts)]),
        )
        if asked is not None:
            self.sync_token = page.token
        for message in page.messages:
            self._have(message, "page")
        for conversation in page.conversations:
            self.holes.know_head(conversation.conversation_id, conversation.head, time.monotonic())

    def _history(self, page: frames.HistoryPage, raw: bytes, asked: Asked | None) -> None:
        seen = all_seen(page.messages)
        self._log(
            history.GotHistory,
            conversation=page.conversation_id,
            messages=seen,
            request=str(page.re),
            asked_t=asked.asked_t if asked is not None else 0.0,
            after=asked.after if asked is not None else -1,
            more=page.more,
            strays=strays(raw, seen),
        )
        for message in page.messages:
            self._have(message, "history")

    def _have(self, message: frames.Message, by: str) -> None:
        """A message came by whichever way; an own one says that its send succeeded."""
        self._place(message.conversation_id, message.seq, by)
        if message.sender == self._user and self.outgoing.finish(message.client_msg_id) is not None:
            self._log_sent(message)

    def _log_sent(self, told: frames.Sent | frames.Message) -> None:
        self._log(
            history.Sent,
            client_msg_id=told.client_msg_id,
            conversation=told.conversation_id,
            seq=told.seq,
            message_id=told.message_id,
        )

    def _place(self, conversation: str, seq: int, by: str) -> None:
        for hole in self.holes.have(conversation, seq, time.monotonic(), by):
            if by != "history":
                self._log(history.Gap, conversation=conversation, first=hole.first, last=hole.last, by=by)

    def _log(self, event: Any, **fields: Any) -> None:
        self._journal.log(event, **fields)
