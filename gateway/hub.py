"""Who is connected here, and what each of them gets: encode once, send many.

One of the hot places. Messages of one conversation that arrive together and go to the same users
share one frame, encoded once per subprotocol; a session adds its own `n` and nothing else
(benchmark: `tests/load/test_hub.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from gateway.metrics import Metrics
from gateway.readers import Readers
from gateway.session import Session
from gateway.watchers import Watchers
from gateway.wire import Delivery, EncodedMessage, frame_bytes
from schemas.codec import MESSAGE
from schemas.codes import CloseCode
from schemas.conversation import GroupEvent, MemberEvent, parse_event
from schemas.errors import Refused, Undecodable
from schemas.frames import JSON, Presence, Rejected, Sent, ServerFrame
from schemas.orders import CloseOrder, parse_order
from schemas.records import STATE_KINDS, Message, Outbound

__all__ = ["Caller", "Hub"]

log = structlog.get_logger(__name__)

MAX_SHARED_MESSAGES: Final = 64
MAX_SHARED_BYTES: Final = 65_536


class Caller(Protocol):
    """Whoever sent something and waits for its place in the order: a session or an HTTP request."""

    def accepted(self, client_msg_id: str, at_ms: int) -> None: ...

    def refused(self, client_msg_id: str, conversation_id: str, refused: Refused) -> None: ...

    def sent(self, message: Message) -> None: ...

    def answer_sent(self, sent: Sent) -> None: ...

    def rejected(self, rejected: Rejected) -> None: ...


class _Run:
    """Neighbouring messages of one conversation for the same users."""

    __slots__ = ("expand", "messages", "size_bytes", "users")

    def __init__(self, outbound: Outbound) -> None:
        self.expand = outbound.expand
        self.users = outbound.users
        self.messages: list[EncodedMessage] = []
        self.size_bytes = 0

    def takes(self, outbound: Outbound) -> bool:
        return (
            self.expand == outbound.expand
            and self.users == outbound.users
            and len(self.messages) < MAX_SHARED_MESSAGES
            and self.size_bytes < MAX_SHARED_BYTES
        )


class Hub:
    """The sessions of this gateway, by id and by user, and the members of large conversations among them.

    Order: messages of a conversation are handed to a session in the order they came. Who gets a
    message is what fan-out wrote beside it; in a large conversation it is this gateway's own index
    of members, which follows the membership events of the stream itself. Nobody gets by it what stands
    before his join, however far the route table, which names him, is ahead of the stream.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.sessions: dict[str, Session] = {}
        self.callers: dict[str, Caller] = {}
        """HTTP requests that wait for their answer, by the session id they sent under."""
        self.touched: list[Session] = []
        self.written: list[tuple[int, int]] = []
        """Since it was last emptied: when each delivered message came in (ms), and in how many frames."""
        self.readers = Readers()
        self.watchers = Watchers()
        self.presence_changed: Callable[[str], None] = _unwatched
        """Told which user's devices changed somewhere, for those who watch him here."""
        self.drain_ordered: Callable[[CloseOrder], None] = _unheeded
        """Told that this gateway is to be drained, or to take clients again."""
        self.ended: Callable[[int, int], None] = _nobody
        """Told how many sends of one session or request got their place, and when the last had come in."""
        self._users: dict[str, tuple[Session, ...]] = {}
        self._metrics = metrics

    # Sessions

    def add(self, session: Session) -> None:
        self.sessions[session.id] = session
        self._users[session.user_id] = (*self.sessions_of(session.user_id), session)

    def remove(self, session: Session) -> None:
        """Forget a session, if it is still there."""
        if self.sessions.get(session.id) is not session:
            return
        del self.sessions[session.id]
        self.watchers.gone(session)
        others = tuple(s for s in self._users[session.user_id] if s is not session)
        if others:
            self._users[session.user_id] = others
        else:
            del self._users[session.user_id]
            self.readers.gone(session.user_id)

    def sessions_of(self, user_id: str) -> tuple[Session, ...]:
        return self._users.get(user_id, ())

    def of_device(self, user_id: str, device_id: str) -> Iterator[Session]:
        return (s for s in self.sessions_of(user_id) if s.device_id == device_id)

    def add_readers(self, conversation_id: str, users: Iterable[str], seq: int) -> bool:
        """These users read a large conversation from this seq on. True: they are the first ones here."""
        return self.readers.add(conversation_id, users, seq, self._users)

    # From the pipeline

    def dispatch(self, outbounds: Sequence[Outbound], now: float) -> None:
        """Hand out what one poll brought. A body that cannot be read is counted and left out."""
        runs: dict[str, _Run] = {}
        for outbound in outbounds:
            try:
                if outbound.kind == "message":
                    self._gather(runs, outbound, now)
                elif outbound.kind == "frame":
                    self._hand_frame(outbound)
                else:
                    self._close(outbound)
            except (Undecodable, Refused, msgspec.DecodeError) as error:
                self._metrics.undecodable.inc()
                log.warning("undecodable outbound", kind=outbound.kind, error=str(error)[:200])
        for run in runs.values():
            try:
                self._deliver(run, now)
            except msgspec.DecodeError as error:
                self._metrics.undecodable.inc()
                log.warning("content is no JSON", error=str(error)[:200])

    def _gather(self, runs: dict[str, _Run], outbound: Outbound, now: float) -> None:
        message = MESSAGE.decode(outbound.body)
        conversation_id = message.conversation_id
        run = runs.get(conversation_id)
        if run is not None and not (run.takes(outbound) and message.kind not in STATE_KINDS):
            self._deliver(runs.pop(conversation_id), now)
            run = None
        if run is None:
            run = runs[conversation_id] = _Run(outbound)
        run.messages.append(EncodedMessage(message))
        run.size_bytes += len(message.content)
        if message.kind in STATE_KINDS:
            self._deliver_event(runs.pop(conversation_id), message, now)

    def _deliver_event(self, run: _Run, message: Message, now: float) -> None:
        """A membership event stands alone: who joins gets it, who leaves gets it and nothing after it."""
        event = parse_event(message.kind, message.content)
        conversation_id = message.conversation_id
        if run.expand or conversation_id in self.readers:
            self.add_readers(conversation_id, _joined(event), message.seq)
        self._deliver(run, now)
        self.readers.remove(conversation_id, _left(event, self.readers.of(conversation_id)), message.seq)

    def _deliver(self, run: _Run, now: float) -> None:
        messages = run.messages
        authors = dict.fromkeys(m.record.session_id for m in messages)
        told = () if messages[0].record.kind in STATE_KINDS else authors
        users, late = self._expand(run) if run.expand else (run.users, {})
        self._hand_out(messages, users, told, now)
        for user_id, seq in late.items():
            self._hand_out([m for m in messages if m.record.seq >= seq], (user_id,), told, now)
        for session_id in authors:
            self._answer_author(session_id, messages, users, late, now)

    def _expand(self, run: _Run) -> tuple[Collection[str], dict[str, int]]:
        """Who reads all of it, and who reads only what stands at his seq or after it."""
        first = run.messages[0].record
        self.add_readers(first.conversation_id, run.users, first.seq)
        readers = self.readers.of(first.conversation_id)
        late = {u: seq for u, seq in readers.items() if seq > first.seq and u not in run.users}
        users = readers.keys() | run.users
        return users - late.keys() if late else users, late

    def _hand_out(
        self, messages: Sequence[EncodedMessage], users: Iterable[str], told: Container[str], now: float
    ) -> None:
        """One frame to each session of these users that is not told otherwise."""
        if not messages:
            return
        delivery = Delivery(messages, now)
        frames = 0
        here = self._users
        for user_id in users:
            for session in here.get(user_id, ()):
                if session.id in told:
                    continue
                session.deliver(delivery)
                frames += 1
        if frames:
            self.written += [(message.record.received_at_ms, frames) for message in messages]
        self._metrics.delivery_frames.inc(frames)
        self._metrics.delivered.inc(frames * len(messages))

    def _answer_author(
        self,
        session_id: str,
        messages: list[EncodedMessage],
        users: Collection[str],
        late: Mapping[str, int],
        now: float,
    ) -> None:
        """The connection that sent a message gets `sent` in its place, among those of others that are for its
        user: where it came in it is answered, whoever else was located there.

        A membership event is delivered to it like to everybody; `ok` comes after it.
        """
        caller = self.callers.get(session_id)
        session = self.sessions.get(session_id)
        others: list[EncodedMessage] = []
        for message in messages:
            if message.record.session_id != session_id:
                others.append(message)
            elif caller is not None:
                caller.sent(message.record)
            elif session is not None:
                session.sent(message.record)
        own = len(messages) - len(others)
        if own and (session is not None or caller is not None):
            self.ended(own, messages[-1].record.received_at_ms)
        if session is None:
            return
        if session.user_id in late:
            others = [message for message in others if message.record.seq >= late[session.user_id]]
        elif session.user_id not in users:
            others = []
        if others:
            session.deliver(Delivery(others, now))

    def _hand_frame(self, outbound: Outbound) -> None:
        """A frame that is written as it is, or the answer to something a session sent."""
        frame = JSON.parse_server(outbound.body)
        if isinstance(frame, Presence):
            self.presence_changed(frame.user_id)
            return
        if outbound.session_id:
            caller = self.callers.get(outbound.session_id) or self.sessions.get(outbound.session_id)
            if caller is not None:
                self._answer(caller, frame)
            return
        for user_id in outbound.users:
            for session in self.sessions_of(user_id):
                if session.id == outbound.not_session_id:
                    continue
                payload = outbound.body if session.codec.text else session.codec.encode(frame)
                wire = frame_bytes(session.codec, payload)
                if not outbound.ephemeral:
                    session.put(wire)
                elif not session.put_ephemeral(wire):
                    self._metrics.dropped_ephemeral.inc()

    def _answer(self, caller: Caller, frame: ServerFrame) -> None:
        if isinstance(frame, Sent):
            caller.answer_sent(frame)
        elif isinstance(frame, Rejected):
            caller.rejected(frame)
        elif isinstance(caller, Session):
            caller.send(frame)

    def _close(self, outbound: Outbound) -> None:
        order = parse_order(outbound.body)
        if order.close_code is CloseCode.DRAIN and not outbound.users:
            self.drain_ordered(order)
            return
        for user_id in outbound.users:
            for session in self.sessions_of(user_id):
                if (
                    outbound.session_id in ("", session.id)
                    and order.device_id in ("", session.device_id)
                    and order.since_ms in (0, session.since_ms)
                ):
                    session.close(order.close_code)


def _unwatched(_: str) -> None:
    """Nobody listens."""


def _unheeded(_: CloseOrder) -> None:
    """Nobody obeys."""


def _nobody(count: int, received_at_ms: int) -> None:
    """Until somebody wants to know."""


def _joined(event: GroupEvent | MemberEvent) -> list[str]:
    if isinstance(event, GroupEvent):
        return [event.by, *event.members] if event.action == "created" else []
    return event.users if event.action == "joined" else []


def _left(event: GroupEvent | MemberEvent, readers: Iterable[str]) -> list[str]:
    if isinstance(event, GroupEvent):
        return list(readers) if event.action == "dissolved" else []
    return event.users if event.action in ("removed", "left") else []
