"""What clients ask: each frame goes to the part that answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast

import structlog

from gateway.directory import Directory
from gateway.history import HistoryService
from gateway.limits.guard import Guard
from gateway.metrics import Metrics
from gateway.pulse import Pulse
from gateway.reading import Reading
from gateway.receipts import Receipts
from gateway.requests import Author, Change, Said, check_role, inbound_of, is_request
from gateway.session import Session
from gateway.sync import SyncService
from gateway.typing_notes import TypingNotes
from gateway.uplink import Uplink
from gateway.watching import Watching
from infra.clock import Clock
from schemas.codes import Code
from schemas.errors import BadInput, Refused, Unavailable
from schemas.frames import (
    Ack,
    ChannelJoin,
    ChannelLeave,
    ConversationBlock,
    ConversationMute,
    Edit,
    GroupAdd,
    GroupCreate,
    GroupInfo,
    GroupLeave,
    GroupMembers,
    GroupMute,
    GroupRemove,
    GroupRename,
    GroupRole,
    History,
    Ping,
    PresenceSubscribe,
    PresenceUnsubscribe,
    React,
    Read,
    ReadAll,
    Recall,
    Send,
    ServerFrame,
    Sync,
    TypingClient,
)

__all__ = ["Desk", "Services"]

log = structlog.get_logger(__name__)

MAX_RUNNING: Final = 8
"""Requests of one session that are being answered from a store at a time; above it 1302."""


class Services:
    """The parts that answer."""

    def __init__(
        self,
        uplink: Uplink,
        pulse: Pulse,
        receipts: Receipts,
        sync: SyncService,
        history: HistoryService,
        directory: Directory,
        reading: Reading,
        typing_notes: TypingNotes,
        watching: Watching,
        guard: Guard,
    ) -> None:
        self.uplink = uplink
        self.pulse = pulse
        self.receipts = receipts
        self.sync = sync
        self.history = history
        self.directory = directory
        self.reading = reading
        self.typing_notes = typing_notes
        self.watching = watching
        self.guard = guard


class Desk:
    """Takes frames. Everything it refuses is answered, counted, and disturbs no other session.

    What needs a store runs as a task, at most `MAX_RUNNING` a session; answers carry `re`, so their
    order is free. Sends and acks never wait for a store.
    """

    def __init__(self, services: Services, clock: Clock, metrics: Metrics, told: Callable[[], None]) -> None:
        self._services = services
        self._clock = clock
        self._metrics = metrics
        self._told = told
        self._tasks: set[asyncio.Task[None]] = set()
        self._handlers: dict[type, Callable[[Session, Any], None]] = {
            Send: self._submit,
            Ack: self._ack,
            Ping: self._ping,
            TypingClient: self._typing,
            Read: self._store(self._read),
            ReadAll: self._store(self._read_all),
            Sync: self._store(self._sync),
            History: self._store(self._history),
            GroupInfo: self._store(self._group_info),
            GroupMembers: self._store(self._group_members),
            ConversationMute: self._store(self._mute),
            **dict.fromkeys((Recall, Edit, React), self._submit),
            **dict.fromkeys((GroupCreate, GroupAdd, GroupRemove, GroupRole, GroupMute), self._submit),
            **dict.fromkeys((GroupRename, GroupLeave, ConversationBlock), self._submit),
            **dict.fromkeys((ChannelJoin, ChannelLeave), self._submit),
            PresenceSubscribe: self._store(services.watching.subscribe),
            PresenceUnsubscribe: self._store(services.watching.unsubscribe),
        }

    def frames(self, session: Session, messages: Sequence[tuple[bytes, bool]]) -> None:
        """Handle frames of a client, each with whether it came as text; none after the one that ends it."""
        self._metrics.frames_in.inc(len(messages))
        for data, text in messages:
            if session.closing is not None:
                break
            self._frame(session, data, text)

    def _frame(self, session: Session, data: bytes, text: bool) -> None:
        now, frame = self._clock.monotonic(), None
        try:
            frame = session.receive(data, text, now)
            self._handlers[type(frame)](session, frame)
        except Refused as refused:
            self._metrics.refuse(refused.code)
            session.refuse(refused, data, now, frame)

    async def drain(self, timeout_s: float) -> None:
        """Let the running answers finish, within the bound."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    # Answered at once, or by the pipeline

    def _submit(self, session: Session, frame: Said | Change) -> None:
        check_role(frame, session.principal.is_server)
        conversation_id = "" if is_request(frame) else cast(Said, frame).conversation_id
        self._services.guard.admit_send(session.principal, session.ip, conversation_id)
        session.admit_send()
        author = Author(session.user_id, session.rules.gateway_id, session.id)
        inbound = inbound_of(frame, author, self._clock.now_ms())
        self._services.uplink.submit(session, inbound)
        session.waiting.expect(inbound.client_msg_id, frame.id, is_request(frame))

    def _ack(self, session: Session, frame: Ack) -> None:
        newest: dict[str, int] = {}
        for delivery in session.acknowledge(frame.n):
            newest[delivery.conversation_id] = delivery.last_seq
        for conversation_id, seq in newest.items():
            self._services.receipts.delivered(session.user_id, session.id, conversation_id, seq)

    def _ping(self, session: Session, frame: Ping) -> None:
        session.admit_request(self._clock.monotonic())
        self._services.pulse.ping(session, frame.id)

    def _typing(self, session: Session, frame: TypingClient) -> None:
        session.admit_request(self._clock.monotonic())
        self._run(session, frame, self._type)

    # Answered from a store

    def _store(self, answer: Callable[[Session, Any], Awaitable[ServerFrame | None]]) -> Callable[..., None]:
        def handle(session: Session, frame: Any) -> None:
            session.admit_request(self._clock.monotonic())
            self._run(session, frame, answer)

        return handle

    def _run(
        self,
        session: Session,
        frame: Any,
        answer: Callable[[Session, Any], Awaitable[ServerFrame | None]],
    ) -> None:
        if session.running >= MAX_RUNNING:
            raise Refused(Code.OVERLOADED)
        session.running += 1
        task = asyncio.create_task(self._answer(session, frame, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(
        self,
        session: Session,
        frame: Any,
        answer: Callable[[Session, Any], Awaitable[ServerFrame | None]],
    ) -> None:
        try:
            reply = await answer(session, frame)
            if reply is not None:
                session.send(reply)
        except Refused as refused:
            self._refuse(session, refused, frame)
        except BadInput as error:
            self._refuse(session, Refused(Code.BAD_FRAME, str(error)), frame)
        except Unavailable as error:
            log.warning("request not answered", request=frame.__struct_config__.tag, error=str(error))
            self._refuse(session, Refused(Code.UNAVAILABLE, retry_after_ms=1_000), frame)
        finally:
            session.running -= 1
            self._told()

    def _refuse(self, session: Session, refused: Refused, frame: Any) -> None:
        self._metrics.refuse(refused.code)
        session.refuse_request(refused, getattr(frame, "id", None), self._clock.monotonic())

    async def _sync(self, session: Session, frame: Sync) -> ServerFrame:
        return await self._services.sync.page(session.user_id, frame, session.progress, session.codec.text)

    async def _history(self, session: Session, frame: History) -> ServerFrame:
        return await self._services.history.page(session.user_id, frame, session.codec.text)

    async def _group_info(self, session: Session, frame: GroupInfo) -> ServerFrame:
        return await self._services.directory.info(session.user_id, frame)

    async def _group_members(self, session: Session, frame: GroupMembers) -> ServerFrame:
        return await self._services.directory.members(session.user_id, frame)

    async def _mute(self, session: Session, frame: ConversationMute) -> ServerFrame:
        return await self._services.directory.mute(session.user_id, frame)

    async def _read(self, session: Session, frame: Read) -> None:
        await self._services.reading.read(session.user_id, session.id, frame)

    async def _read_all(self, session: Session, frame: ReadAll) -> ServerFrame:
        return await self._services.reading.read_all(session.user_id, session.id, frame)

    async def _type(self, session: Session, frame: TypingClient) -> None:
        await self._services.typing_notes.tell(session.user_id, session.id, frame)
