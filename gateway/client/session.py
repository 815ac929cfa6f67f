"""The client's side of protocol v1 without a socket or a clock: frames in, frames and events out. Pure.

The shell (`client.py`) feeds what it reads to `receive`, calls `tick` at `next_due`, writes
`frames_to_send` in order and hands the events on. What holds over any loss, repeat and reconnect:

- each message of a conversation comes out once, in the order of `seq`; what cannot be had is a `Gap`;
- sends of one conversation get their places in the order of `submit`, and each ends exactly once, as
  `MessageSent` or `MessageRejected`;
- what was received is acknowledged within about a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Final

from gateway.client import events
from gateway.client.acks import Acks
from gateway.client.backoff import RETRY_SEND
from gateway.client.conversations import Conversations, Hole
from gateway.client.cursors import Cursors
from gateway.client.events import Event
from gateway.client.outbox import Entry, Outbox
from gateway.client.outbox_store import Outgoing
from gateway.client.own_messages import own_message, sent_event
from schemas import frames
from schemas.codes import Code
from schemas.frames import ClientFrame, Message, ServerFrame

__all__ = ["ClientSession", "Reply", "Rules"]

HISTORY_LIMIT: Final = 200
LOOK_UPS: Final = 16
"""Conversations of the outbox that are looked into at once after a reconnect."""
SYNC_RETRY_S: Final = 1.0
PING_SHARE: Final = 0.8
"""A ping is sent after this share of the heartbeat, whatever else is sent: its pong shows a lost tail."""
FIRST_PING_S: Final = 0.5
"""After a welcome: what was on its way to the connection before, and not stored when the sync read, shows in
the heads of its pong."""
NEVER: Final = float("inf")

Reply = frames.Ok | frames.HistoryPage | frames.Error
_Handler = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits of a session."""

    sync_limit: int = 20
    max_fill: int = 1_000
    """Holes up to this size are filled by themselves; larger ones become a `Gap`."""
    answer_timeout_s: float = 20.0
    """A request, a ping or a send that gets no answer for so long means that the connection is broken."""


_CHANGES = (
    frames.GroupCreate, frames.GroupAdd, frames.GroupRemove, frames.GroupRole, frames.GroupMute,
    frames.GroupRename, frames.GroupLeave, frames.ConversationBlock,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Request:
    """`newest`: the newest message of its conversation that was known when it was asked."""

    asked_at: float
    frame: ClientFrame
    handler: _Handler | None
    newest: int


class ClientSession:
    """One user's device, over as many connections as it takes. `token` is where a former run's sync stood."""

    def __init__(
        self,
        outbox: Outbox,
        jitter: Callable[[], float],
        token: str | None = None,
        rules: Rules | None = None,
    ) -> None:
        self.user_id = ""
        self.session_id: str | None = None
        self.token = token
        self.kept_token = token
        """Where another run may go on: all before it has come out of `take_events`, nothing is held back."""
        self.connected = False
        self.drain_at: float | None = None
        self._rules = rules or Rules()
        self._outbox = outbox
        self._jitter = jitter
        self._now = 0.0
        self._acks = Acks()
        self._cursors = Cursors()
        self._conversations = Conversations(self._rules.max_fill)
        self._level = False
        self._from_nothing = False
        self._sync_due: float | None = None
        self._reads: dict[str, int] = {}
        self._reads_written: dict[str, int] = {}
        self._out: deque[ClientFrame] = deque()
        self._events: list[Event] = []
        self._replies: list[tuple[int, Reply]] = []
        self._requests: dict[int, _Request] = {}
        self._next_request = 1
        self._max_inflight = 1
        self._ping_every_s = NEVER
        self._ping_due = NEVER
        self._receivers: dict[type, _Handler] = {
            frames.Welcome: self._welcome,
            frames.Accepted: self._accepted,
            frames.Sent: self._sent,
            frames.Rejected: self._rejected,
            frames.Deliver: self._deliver,
            frames.Page: self._answer,
            frames.HistoryPage: self._answer,
            frames.Ok: self._answer,
            frames.Error: self._answer,
            frames.Pong: self._pong,
            frames.Receipt: self._receipt,
            frames.TypingServer: self._typing,
            frames.Presence: self._presence,
            frames.Drain: self._drain,
        }

    # What the application asks

    def submit(self, frame: Outgoing) -> None:
        """Put a send into the outbox. Raises `OutboxFull`, or `BadInput` for an id that is on its way."""
        self._outbox.add(frame)

    def request(self, make: Callable[[int], ClientFrame], now: float) -> int:
        """Ask for something that is answered by a `Reply`, found in `take_replies` under the id returned."""
        self._now = now
        return self._ask(make, None)

    def say(self, frame: ClientFrame) -> None:
        """Write a frame that nobody answers and that may be lost."""
        if self.connected:
            self._out.append(frame)

    def read(self, conversation_id: str, seq: int) -> None:
        """Move the own read cursor. It is said again on each connection that follows a broken one."""
        self._reads[conversation_id] = max(seq, self._reads.get(conversation_id, 0))

    # What the connection does

    def receive(self, frame: ServerFrame, now: float) -> None:
        """Take one frame from the server; one of a type that is not known here is ignored."""
        self._now = now
        receiver = self._receivers.get(type(frame))
        if receiver is not None:
            receiver(frame)

    def disconnected(self, now: float) -> list[int]:
        """The connection is gone. Returns the requests that will get no answer."""
        self.connected = False
        self.drain_at = None
        self._sync_due = None
        self._ping_due = NEVER
        self._out.clear()
        self._outbox.disconnected()
        self._conversations.detach(now)
        for conversation_id, seq in self._reads_written.items():
            self.read(conversation_id, seq)
        self._reads_written.clear()
        unanswered = [number for number, request in self._requests.items() if request.handler is None]
        self._requests.clear()
        return unanswered

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._now = now
        if not self.connected:
            return
        if (n := self._acks.take(now)) is not None:
            self._out.append(frames.Ack(n=n))
        self._write_reads()
        if self._sync_due is not None and self._sync_due <= now:
            self._sync()
        for conversation_id, hole in self._conversations.take_questions(now):
            self._ask(partial(_history, conversation_id, hole), partial(self._filled, conversation_id))
        self._transmit()
        if self._ping_due <= now:
            self._ping_due = now + self._ping_every_s
            self._ask(lambda number: frames.Ping(id=number), self._ponged)

    def frames_to_send(self) -> list[ClientFrame]:
        """What to write now, in this order."""
        out = list(self._out)
        self._out.clear()
        return out

    def take_events(self) -> list[Event]:
        """What happened since the last call, in order."""
        self._come_out()
        if self._conversations.whole:
            self.kept_token = self.token
        taken, self._events = self._events, []
        return taken

    def take_replies(self) -> list[tuple[int, Reply]]:
        """Answers to `request` since the last call."""
        taken, self._replies = self._replies, []
        return taken

    def next_due(self) -> float:
        """When `tick` has something to do; infinity if only a frame or a call can change that."""
        if not self.connected:
            return NEVER
        times = (self._acks.due, self._sync_due, self._outbox.next_due(), self._conversations.next_due())
        return min([self._ping_due, *(time for time in times if time is not None)])

    @property
    def leave_at(self) -> float:
        """When to give this connection up: it is being drained, or owes an answer for too long."""
        asked = min((request.asked_at for request in self._requests.values()), default=NEVER)
        sent = self._outbox.oldest_unanswered_at
        broken_at = min(asked, NEVER if sent is None else sent) + self._rules.answer_timeout_s
        return broken_at if self.drain_at is None else min(broken_at, self.drain_at)

    # Frames

    def _welcome(self, frame: frames.Welcome) -> None:
        self._outbox.bind(frame.user_id)
        self.user_id = frame.user_id
        self.session_id = frame.session_id
        self.connected = True
        self._max_inflight = frame.limits.max_inflight
        self._ping_every_s = frame.heartbeat_s * PING_SHARE
        self._ping_due = self._now + min(FIRST_PING_S, self._ping_every_s)
        self._outbox.connected(frame.resumed)
        if frame.resumed:
            self._acks.resume()
        else:
            self._acks.restart()
        self._level = self._level and frame.resumed
        self._conversations.attach(frame.user_id, self._level)
        if not self._level:
            self._sync_due = self._now
        self._events.append(events.StateChanged("connected", resumed=frame.resumed))

    def _accepted(self, frame: frames.Accepted) -> None:
        entry = self._outbox.accepted(frame.client_msg_id)
        if entry is not None:
            key, conversation_id = frame.client_msg_id, entry.frame.conversation_id
            self._events.append(events.MessageAccepted(key, conversation_id, frame.accepted_at_ms))

    def _sent(self, frame: frames.Sent) -> None:
        entry = self._outbox.place(frame.client_msg_id, frame.seq)
        if entry is not None:
            message = own_message(entry.frame, frame, self.user_id)
            self._events.append(sent_event(message))
            self._conversations.show(message, self._now)
            self._come_out()

    def _rejected(self, frame: frames.Rejected) -> None:
        key = frame.client_msg_id
        if key not in self._outbox:
            return
        if frame.temporary:
            wait_s = RETRY_SEND.delay_s(self._outbox.refused(key), self._jitter)
            if self._outbox.try_again(key, self._now + wait_s + (frame.retry_after_ms or 0) / 1000):
                return
        self._outbox.finish(key)
        self._events.append(
            events.MessageRejected(
                client_msg_id=key,
                conversation_id=frame.conversation_id,
                code=frame.code,
                reason=frame.name,
                message=frame.message,
                temporary=frame.temporary,
            )
        )

    def _deliver(self, frame: frames.Deliver) -> None:
        self._acks.delivered(frame.n, self._now)
        for message in frame.messages:
            self._complete(message)
            self._conversations.show(message, self._now)
        self._come_out()

    def _pong(self, frame: frames.Pong) -> None:
        if self._level and frame.token:
            self.token = frame.token
        for conversation_id, head in frame.heads.items():
            self._conversations.know_head(conversation_id, head, self._now)
        self._answer(frame)

    def _receipt(self, frame: frames.Receipt) -> None:
        if not self._cursors.raises(frame):
            return
        delivered, read = self._cursors.of(frame.conversation_id, frame.user_id)
        moved = events.ReceiptMoved(frame.conversation_id, frame.user_id, delivered or None, read or None)
        self._events.append(moved)

    def _typing(self, frame: frames.TypingServer) -> None:
        self._events.append(events.Typing(frame.conversation_id, frame.user_id, frame.active))

    def _presence(self, frame: frames.Presence) -> None:
        self._events.append(events.PresenceChanged(frame.user_id, frame.online))

    def _drain(self, frame: frames.Drain) -> None:
        self.drain_at = self._now + frame.reconnect_after_ms / 1000

    # Requests

    def _ask(self, make: Callable[[int], ClientFrame], handler: _Handler | None) -> int:
        number = self._next_request
        self._next_request += 1
        frame = make(number)
        newest = self._conversations.newest(frame.conversation_id) if isinstance(frame, _CHANGES[1:]) else 0
        self._requests[number] = _Request(self._now, frame, handler, newest)
        self._out.append(frame)
        return number

    def _answer(self, frame: Any) -> None:
        request = self._requests.pop(frame.re, None)
        if request is None:
            return
        if request.handler is not None:
            request.handler(frame)
            return
        self._replies.append((frame.re, frame))
        if isinstance(frame, frames.Ok) and isinstance(request.frame, _CHANGES):
            conversation_id = frame.conversation_id or getattr(request.frame, "conversation_id", None)
            if conversation_id is not None:
                created = isinstance(request.frame, frames.GroupCreate)
                self._conversations.changed(conversation_id, request.newest, created, self._now)

    def _ponged(self, frame: Any) -> None:
        """The pong was read where it came in; that it came shows that the connection lives."""

    def _write_reads(self) -> None:
        for conversation_id, seq in self._reads.items():
            self._out.append(frames.Read(conversation_id=conversation_id, seq=seq))
        self._reads_written.update(self._reads)
        self._reads.clear()

    # Sync

    def _sync(self) -> None:
        self._sync_due = None
        token, limit = self.token, self._rules.sync_limit
        self._from_nothing = self._from_nothing or token is None
        self._ask(lambda number: frames.Sync(token=token, limit=limit, id=number), self._synced)

    def _synced(self, frame: frames.Page | frames.Error) -> None:
        if isinstance(frame, frames.Error):
            self.token = self.token if frame.temporary else None
            self._sync_due = self._now + max(SYNC_RETRY_S, (frame.retry_after_ms or 0) / 1000)
            return
        for conversation in frame.conversations:
            self._events.append(events.ConversationUpdated(conversation.conversation_id, conversation))
        for message in frame.messages:
            self._complete(message)
            self._conversations.show_synced(message, self._now)
        self.token = frame.token
        if frame.more:
            self._sync_due = self._now
        else:
            self._level = True
            self._conversations.reached_level(self._from_nothing, frame.until_ms, self._now)
        self._come_out()

    # Messages

    def _come_out(self) -> None:
        self._events.extend(self._conversations.take_events())

    def _complete(self, message: Message) -> None:
        """An own message that came by any way says that its send succeeded."""
        if message.sender != self.user_id:
            return
        if self._outbox.place(message.client_msg_id, message.seq) is not None:
            self._events.append(sent_event(message))

    def _filled(self, conversation_id: str, frame: frames.HistoryPage | frames.Error) -> None:
        messages = [] if isinstance(frame, frames.Error) else frame.messages
        for message in messages:
            self._complete(message)
        self._conversations.filled(conversation_id, messages, self._now)
        self._come_out()

    # The outbox

    def _transmit(self) -> None:
        for conversation_id in self._outbox.take_doubtful(LOOK_UPS):
            self._ask(partial(_history, conversation_id, None), partial(self._looked_into, conversation_id))
        room = self._max_inflight - self._outbox.unanswered_count
        self._out.extend(self._outbox.take_ready(self._now, room))

    def _looked_into(self, conversation_id: str, frame: frames.HistoryPage | frames.Error) -> None:
        """Sends that the server has are done, the others go again; the server knows a repeat for minutes.

        One that a later one has overtaken was refused; sent again it might be taken, after the later one.
        """
        if isinstance(frame, frames.HistoryPage):
            for message in reversed(frame.messages):
                self._complete(message)
            shown_until = max((m.seq for m in frame.messages), default=0) if _is_whole(frame) else -1
            for entry in self._outbox.take_overtaken(conversation_id, shown_until):
                self._events.append(_overtaken(entry))
        self._outbox.settle(conversation_id)


def _is_whole(page: frames.HistoryPage) -> bool:
    """Whether the page shows a conversation from its beginning, with nothing missing in between."""
    seqs = [message.seq for message in page.messages]
    return not page.more and all(later == earlier + 1 for later, earlier in pairwise(seqs))


def _overtaken(entry: Entry) -> Event:
    return events.MessageRejected(
        client_msg_id=entry.frame.client_msg_id,
        conversation_id=entry.frame.conversation_id,
        code=Code.UNAVAILABLE,
        reason="unavailable",
        message="it was refused, and a later message has its place already",
        temporary=True,
    )


def _history(conversation_id: str, hole: Hole, number: int) -> frames.History:
    """Ask for what is missing; without a hole, for the newest."""
    if hole is None:
        return frames.History(conversation_id=conversation_id, limit=HISTORY_LIMIT, id=number)
    first, last = hole
    limit = min(HISTORY_LIMIT, last - first + 1)
    return frames.History(conversation_id=conversation_id, after_seq=first - 1, limit=limit, id=number)
