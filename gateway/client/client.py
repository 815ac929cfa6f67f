"""The Python SDK: `async with Client(url, token) as c`, then send, iterate, ask."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

from gateway.client.address import parse_url
from gateway.client.backoff import RECONNECT
from gateway.client.connector import Connector, drained
from gateway.client.dispatch import Dispatcher
from gateway.client.errors import ClientClosed, ServerRefused
from gateway.client.event_queue import EventQueue
from gateway.client.events import (
    Event,
    MessageAccepted,
    MessageRejected,
    MessageSent,
    State,
    StateChanged,
)
from gateway.client.link import Link, LinkEnd
from gateway.client.outbox import Outbox
from gateway.client.outbox_store import MemoryStore, Outgoing, SqliteStore
from gateway.client.session import NEVER, ClientSession, Reply, Rules
from gateway.client.ticket import Ticket
from schemas import frames
from schemas.errors import BadInput, ImError, OutcomeUnknown, Unavailable
from schemas.frames import JSON, MSGPACK, ClientFrame, ServerFrame
from schemas.ids import new_message_id, new_name

__all__ = ["Client"]

CODECS: Final = {"json": JSON, "msgpack": MSGPACK}
NORMAL: Final = 1000
IDLE_S: Final = 60.0
MOVE_AGAIN_S: Final = 0.5
ReplyT = TypeVar("ReplyT", frames.Ok, frames.HistoryPage)


class Client:
    """One user on one device. Stays connected, or connecting, from `async with` to its end.

    `url` is a gateway's (`http://host:port`). With `dispatch` it is only asked which gateways have room (in
    `region`, if one is there): one of them is chosen by weight, and another when it drains, is full or does
    not answer. `token` is a JWT, or is called for one before each connection.
    With `outbox_path` unanswered sends survive the process and go out in the next run, in order. `sync_token`
    (kept from `Client.sync_token` of an earlier run) makes the sync begin where that run stood.

    Sends of one conversation are strictly ordered and never doubled; each message comes out of the
    iteration once, in order. Entering waits for the first connection, at most
    `connect_timeout_s` (0: not at all).
    """

    def __init__(
        self,
        url: str,
        token: str | Callable[[], str],
        *,
        device_id: str | None = None,
        platform: Literal["web", "ios", "android", "desktop", "server"] = "desktop",
        codec: Literal["json", "msgpack"] = "json",
        outbox_path: str | Path | None = None,
        sync_token: str | None = None,
        connect_timeout_s: float = 10.0,
        dispatch: bool = False,
        region: str = "",
        event_limit: int = 1_000,
        rules: Rules | None = None,
    ) -> None:
        address = parse_url(url, device_id or new_name(), platform)
        dispatcher = Dispatcher(address, region, random.random) if dispatch else None
        self._connector = Connector(address, dispatcher, token, CODECS[codec])
        self._outbox = Outbox(MemoryStore() if outbox_path is None else SqliteStore(Path(outbox_path)))
        self._rules = rules or Rules()
        self._session = ClientSession(self._outbox, random.random, sync_token, self._rules)
        self._connect_timeout_s = connect_timeout_s
        self._events = EventQueue(event_limit)
        self._state: State = "disconnected"
        self._tickets: dict[str, Ticket] = {}
        self._replies: dict[int, asyncio.Future[Reply]] = {}
        self._work = asyncio.Event()
        self._connected = asyncio.Event()
        self._happened: deque[Event] = deque()
        self._ended: ImError | None = None
        self._end_reason: ImError = ClientClosed(0, "the client failed")
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        return self._state

    @property
    def user_id(self) -> str:
        """Whose token it is; empty before the first connection."""
        return self._session.user_id

    @property
    def sync_token(self) -> str | None:
        """Where the sync stands: keep it to go on from here in another run."""
        return self._session.kept_token

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="skein-client")
        try:
            if self._connect_timeout_s:
                await self._wait_connected(self._connect_timeout_s)
        except BaseException:
            await self.close(drain_s=0)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(drain_s=5.0 if error is None else 0.0)

    async def close(self, drain_s: float = 5.0) -> None:
        """Wait for the answers of what was sent, at most `drain_s`, then disconnect for good."""
        open_tickets = [asyncio.ensure_future(ticket.sent()) for ticket in self._tickets.values()]
        if open_tickets and drain_s and self._ended is None:
            await asyncio.wait(open_tickets, timeout=drain_s)
        for waiting in open_tickets:
            waiting.cancel()
        await asyncio.gather(*open_tickets, return_exceptions=True)
        self._end_reason = ClientClosed(NORMAL, "closed by the application")
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    # Messages

    async def send(
        self,
        conversation_id: str,
        content: str | dict[str, Any],
        *,
        kind: Literal["text", "image", "voice", "video", "file", "custom"] = "text",
        quote_seq: int | None = None,
        mentions: Sequence[str] = (),
        client_msg_id: str | None = None,
    ) -> Ticket:
        """Put a message into the outbox, connected or not; a string is sent as text.

        An application that names its messages itself gives a `client_msg_id`, never twice. Raises
        `OutboxFull`, and `ClientClosed` when nothing will ever be sent.
        """
        return self._submit(
            frames.Send(
                client_msg_id=client_msg_id or new_message_id(),
                conversation_id=conversation_id,
                kind=kind,
                content={"text": content} if isinstance(content, str) else content,
                quote=None if quote_seq is None else frames.Quote(quote_seq),
                mentions=list(mentions),
            )
        )

    async def edit(
        self,
        conversation_id: str,
        seq: int,
        content: str | dict[str, Any],
        *,
        client_msg_id: str | None = None,
    ) -> Ticket:
        """Replace the content of an own message; as ordered as a send."""
        return self._submit(
            frames.Edit(
                client_msg_id=client_msg_id or new_message_id(),
                conversation_id=conversation_id,
                seq=seq,
                content={"text": content} if isinstance(content, str) else content,
            )
        )

    async def recall(self, conversation_id: str, seq: int, *, client_msg_id: str | None = None) -> Ticket:
        """Take an own message back; as ordered as a send."""
        return self._submit(
            frames.Recall(
                client_msg_id=client_msg_id or new_message_id(), conversation_id=conversation_id, seq=seq
            )
        )

    async def react(
        self,
        conversation_id: str,
        seq: int,
        emoji: str,
        *,
        add: bool = True,
        client_msg_id: str | None = None,
    ) -> Ticket:
        """Add or remove a reaction; as ordered as a send."""
        return self._submit(
            frames.React(
                client_msg_id=client_msg_id or new_message_id(),
                conversation_id=conversation_id,
                seq=seq,
                emoji=emoji,
                add=add,
            )
        )

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Events until the client is closed; the last one says why."""
        while (event := await self._events.get()) is not None:
            yield event

    async def history(
        self,
        conversation_id: str,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
        limit: int = 50,
    ) -> frames.HistoryPage:
        """A page of messages: newest first before a seq (or without one), oldest first after one."""
        page = await self._ask(
            lambda number: frames.History(
                conversation_id=conversation_id,
                before_seq=before_seq,
                after_seq=after_seq,
                limit=limit,
                id=number,
            )
        )
        return _expect(frames.HistoryPage, page)

    async def read(self, conversation_id: str, seq: int) -> None:
        """Say that everything up to `seq` was read; said again after a reconnect if need be."""
        self._session.read(conversation_id, seq)
        self._work.set()

    async def typing(self, conversation_id: str, *, active: bool = True) -> None:
        """Show that this user writes; forgotten when not connected."""
        self._session.say(frames.TypingClient(conversation_id=conversation_id, active=active))
        self._work.set()

    # Groups

    async def create_group(self, name: str, members: Sequence[str], group_id: str | None = None) -> str:
        """Create a group whose owner is this user; returns its conversation id."""
        ok = await self._change(
            lambda number: frames.GroupCreate(name=name, members=list(members), group_id=group_id, id=number)
        )
        if ok.conversation_id is None:
            raise OutcomeUnknown("the server did not name the group it created")
        return ok.conversation_id

    async def add_members(self, conversation_id: str, members: Sequence[str]) -> None:
        """Add users to a group; they see what comes from then on."""
        await self._change(
            lambda number: frames.GroupAdd(conversation_id=conversation_id, members=list(members), id=number)
        )

    async def remove_members(self, conversation_id: str, members: Sequence[str]) -> None:
        """Remove users from a group."""
        await self._change(
            lambda number: frames.GroupRemove(
                conversation_id=conversation_id, members=list(members), id=number
            )
        )

    async def rename_group(self, conversation_id: str, name: str) -> None:
        """Give a group another name."""
        await self._change(
            lambda number: frames.GroupRename(conversation_id=conversation_id, name=name, id=number)
        )

    async def leave_group(self, conversation_id: str) -> None:
        """Leave a group."""
        await self._change(lambda number: frames.GroupLeave(conversation_id=conversation_id, id=number))

    async def members(self, conversation_id: str) -> list[dict[str, Any]]:
        """Who is in a group, and as what."""
        ok = await self._change(
            lambda number: frames.GroupMembers(conversation_id=conversation_id, id=number)
        )
        return ok.members or []

    # Requests

    def _submit(self, frame: Outgoing) -> Ticket:
        self._check_open()
        self._session.submit(frame)
        ticket = self._tickets[frame.client_msg_id] = Ticket(frame.client_msg_id, frame.conversation_id)
        self._work.set()
        return ticket

    async def _change(self, make: Callable[[int], ClientFrame]) -> frames.Ok:
        return _expect(frames.Ok, await self._ask(make))

    async def _ask(self, make: Callable[[int], ClientFrame]) -> Reply:
        """Ask once. Raises `ServerRefused`, `OutcomeUnknown` if the connection broke, or `Unavailable`."""
        await self._wait_connected(self._rules.answer_timeout_s)
        loop = asyncio.get_running_loop()
        number = self._session.request(make, loop.time())
        answer: asyncio.Future[Reply] = loop.create_future()
        self._replies[number] = answer
        self._work.set()
        try:
            reply = await answer
        finally:
            self._replies.pop(number, None)
        if isinstance(reply, frames.Error):
            raise ServerRefused(reply)
        return reply

    async def _wait_connected(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._connected.wait()
        except TimeoutError:
            base = self._connector.address.base
            raise Unavailable(f"not connected to {base} after {timeout_s:g} s") from None
        self._check_open()

    def _check_open(self) -> None:
        if self._ended is not None:
            raise self._ended

    # The connection

    async def _run(self) -> None:
        """Connect again and again until that is of no use."""
        try:
            await self._keep_connected()
        except LinkEnd as end:
            self._end_reason = ClientClosed(end.code, end.reason)
        except BadInput as error:
            self._end_reason = error
        finally:
            await self._end(self._end_reason)

    async def _keep_connected(self) -> None:
        """Raises the `LinkEnd` that is terminal, and `BadInput` if the outbox is another user's."""
        failures = 0
        while True:
            await self._change_state(StateChanged("connecting"))
            try:
                await self._converse()
            except LinkEnd as end:
                moved = await self._connector.moved()
                if not moved:
                    if end.terminal:
                        raise
                    self._connector.ended(end)
                failures = 1 if self._connected.is_set() else failures + 1
                wait_s = end.retry_after_s + RECONNECT.delay_s(failures, random.random)
                await self._rest(end, 0.0 if moved else wait_s)

    async def _rest(self, end: LinkEnd, wait_s: float) -> None:
        self._disconnect()
        change = StateChanged("disconnected", code=end.code, reason=end.reason, retry_in_s=wait_s)
        await self._change_state(change)
        await asyncio.sleep(wait_s)

    async def _converse(self) -> None:
        """One connection from its opening to its end, which is always an exception."""
        link, welcome = await self._connector.open(self._session.session_id)
        try:
            await self._take(welcome)
            writer = asyncio.create_task(self._write(link), name="skein-client-writer")
            reader = asyncio.create_task(self._read(link), name="skein-client-reader")
            await _first_to_fail(reader, writer)
        finally:
            await self._connector.leave(link)

    async def _read(self, link: Link) -> None:
        while True:
            await self._take(await link.read())

    async def _write(self, link: Link) -> None:
        """Write what is due, then wait for more; leave a connection that is drained or broken."""
        clock = asyncio.get_running_loop().time
        while True:
            self._work.clear()
            leave_at = self._session.leave_at
            if self._connector.answered:
                if await self._connector.moved():
                    raise drained()
                self._session.drain_at = clock() + MOVE_AGAIN_S
                continue
            if self._connector.moving:
                leave_at = NEVER
            elif clock() >= leave_at:
                if self._session.drain_at is None:
                    raise LinkEnd(0, "an answer is overdue")
                self._connector.move(self._session.session_id, self._work.set)
                continue
            self._session.tick(clock())
            for frame in self._session.frames_to_send():
                await link.write(frame, self._rules.answer_timeout_s)
            due = min(self._session.next_due(), leave_at)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(due - clock(), IDLE_S)):
                    await self._work.wait()

    async def _take(self, frame: ServerFrame | None) -> None:
        """Let the session have a frame, and pass on what comes of it."""
        if frame is None:
            return
        self._session.receive(frame, asyncio.get_running_loop().time())
        self._work.set()
        for number, reply in self._session.take_replies():
            if (answer := self._replies.get(number)) is not None and not answer.done():
                answer.set_result(reply)
        happened = self._session.take_events()
        for event in happened:
            self._note(event)
        await self._pass_on(*happened)

    async def _pass_on(self, *happened: Event) -> None:
        """Let the application have events; cut short, the rest goes first the next time."""
        self._happened.extend(happened)
        while self._happened:
            await self._events.put(self._happened[0])
            self._happened.popleft()

    def _note(self, event: Event) -> None:
        match event:
            case StateChanged(state="connected"):
                self._state = "connected"
                self._connected.set()
            case MessageAccepted():
                if event.client_msg_id in self._tickets:
                    self._tickets[event.client_msg_id].resolve_accepted(event.accepted_at_ms)
            case MessageSent():
                if (ticket := self._tickets.pop(event.client_msg_id, None)) is not None:
                    ticket.resolve_sent(event)
            case MessageRejected():
                if (ticket := self._tickets.pop(event.client_msg_id, None)) is not None:
                    ticket.fail(ServerRefused(_rejection(event)))
            case _:
                pass

    async def _change_state(self, event: StateChanged) -> None:
        self._state = event.state
        await self._pass_on(event)

    def _disconnect(self) -> None:
        self._connected.clear()
        for number in self._session.disconnected(asyncio.get_running_loop().time()):
            if (answer := self._replies.get(number)) is not None and not answer.done():
                answer.set_exception(OutcomeUnknown("the connection broke before the answer came"))

    async def _end(self, error: ImError) -> None:
        """There will be no other connection; everybody who waits is told."""
        self._ended = error
        self._disconnect()
        await self._connector.close()
        self._outbox.close()
        for ticket in self._tickets.values():
            ticket.fail(error)
        self._connected.set()
        self._state = "closed"
        code = error.code if isinstance(error, ClientClosed) else None
        await self._events.close(*self._happened, StateChanged("closed", code=code, reason=str(error)))


async def _first_to_fail(*tasks: asyncio.Task[None]) -> None:
    """Wait for the first to end, end the others, raise what ended it."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _expect(kind: type[ReplyT], reply: Reply) -> ReplyT:
    if not isinstance(reply, kind):
        raise OutcomeUnknown(f"the server answered with another frame: {type(reply).__name__}")
    return reply


def _rejection(event: MessageRejected) -> frames.Rejected:
    return frames.Rejected(
        client_msg_id=event.client_msg_id,
        conversation_id=event.conversation_id,
        code=event.code,
        name=event.reason,
        message=event.message,
        temporary=event.temporary,
    )
