"""A client of the protocol's page, without the SDK: every frame it writes or takes is in its journal.

It does what a careful client does: resumes, syncs, repeats under the same id, notices jumps and fills them
by `history`; and it hides nothing that the server did.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from random import Random
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from schemas import frames
from schemas.frames import JSON, MSGPACK, ClientFrame, ServerFrame
from tests.faults import history
from tests.faults.workload.hearing import RETRY_S, Answer, Asked, Hearing
from tests.faults.workload.holes import Hole
from tests.faults.workload.journal import Journal
from tests.faults.workload.outgoing import Letter
from tests.faults.workload.wishes import Wish

__all__ = ["RawClient"]

TICK_S: Final = 0.1
ACK_S: Final = 0.5
PING_S: Final = 2.5
FIRST_PING_S: Final = 0.5
"""What was on its way to the connection before shows in the heads of the pong."""
ANSWER_S: Final = 20.0
WELCOME_S: Final = 10.0
LONGEST_BACKOFF_S: Final = 4.0
PAGE_LIMIT: Final = 200
SYNC_LIMIT: Final = 100

Note = Callable[[], None]


class _Over(Exception):
    """This connection is to be given up; the reason is for the journal."""


class RawClient:
    """One device of one user. `start`, then ask it for things; it stays connected until `close`."""

    def __init__(
        self, url: str, token: str, user: str, device: str, journal: Journal, random: Random
    ) -> None:
        self.user = user
        self.connected = False
        self.hearing = Hearing(user, journal, random)
        self._journal = journal
        self._random = random
        self._token = token
        self._url = f"{url.replace('http', 'ws', 1)}/v1/ws?device_id={device}&platform=desktop"
        self._codec = random.choice((JSON, MSGPACK))
        self._session = ""
        self._forget_session = False
        self._acked = 0
        self._asked_count = 0
        self._frames: asyncio.Queue[tuple[ClientFrame, Note | None]] = asyncio.Queue()
        self._socket: ClientConnection | None = None
        self._parting: asyncio.Task[None] | None = None
        """Goes on while it connects elsewhere, if it was told to."""
        self._task: asyncio.Task[None] | None = None
        journal.log(history.Client, user=user, device=device)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._live())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # What it can be asked for

    @property
    def waiting(self) -> int:
        """Sends without an answer."""
        return len(self.hearing.outgoing)

    @property
    def own(self) -> Sequence[tuple[str, int]]:
        """Where own texts stand, the newest few."""
        return self.hearing.own

    def top(self, conversation: str) -> int:
        """The highest seq it has of a conversation; 0 for none."""
        return self.hearing.holes.top(conversation)

    async def send(self, letter: Letter) -> bool:
        """Take it to be sent; False if too much waits in its conversation."""
        if not self.hearing.outgoing.room(letter.frame.conversation_id):
            return False
        self.hearing.outgoing.add(letter)
        return True

    async def request(self, wish: Wish) -> int | None:
        """Ask once; the error's code, 0 for ok, None if no answer came."""
        if not self.connected:
            return None
        answer = await self._ask(
            wish.frame, lambda number: self._log(history.Request, request=number, **wish.fields)
        )
        if answer is None:
            return None
        return answer.code if isinstance(answer, frames.Error) else 0

    async def read(self, conversation: str, seq: int) -> None:
        if self.connected:
            frame = frames.Read(conversation_id=conversation, seq=seq)
            self._write(frame, lambda: self._log(history.Read, conversation=conversation, seq=seq))

    def typing(self, conversation: str) -> None:
        if self.connected:
            frame = frames.TypingClient(conversation_id=conversation, active=True)
            self._write(frame, lambda: self._log(history.TypingSaid, conversation=conversation))

    def drop(self, *, forget: bool) -> None:
        """Cut the connection without a word; `forget`: come back as a new session."""
        self._forget_session = forget
        if self._socket is not None:
            self._socket.transport.abort()

    async def settle(self) -> None:
        """Sync to the end, ask for every hole, say so."""
        while True:
            while not self.connected:
                await asyncio.sleep(TICK_S)
            if await self._sync() and await self._fill_all(self.hearing.holes.all()):
                self._log(history.Settled)
                return
            await asyncio.sleep(RETRY_S)

    # Its life

    async def _live(self) -> None:
        backoff_s = RETRY_S
        while True:
            resume = "" if self._forget_session else self._session
            self._forget_session = False
            self._journal.session = ""
            self._log(history.Connect, resume=resume)
            began = time.monotonic()
            try:
                await self._connection(resume)
            except (_Over, TimeoutError) as over:
                self._closed(0, str(over) or "no answer in time", ours=True)
            except ConnectionClosed as closed:
                end = closed.rcvd
                self._closed(end.code if end else 0, end.reason if end else "cut")
            except InvalidStatus as refused:
                self._closed(0, f"HTTP {refused.response.status_code}")
            except (OSError, InvalidHandshake) as error:
                self._closed(0, type(error).__name__)
            if self.hearing.leave_at < inf:
                self.hearing.leave_at = inf
                continue
            lived = time.monotonic() - began > WELCOME_S
            backoff_s = RETRY_S if lived else min(2 * backoff_s, LONGEST_BACKOFF_S)
            await asyncio.sleep(self._random.random() * backoff_s)

    async def _connection(self, resume: str) -> None:
        async with asyncio.timeout(WELCOME_S):
            socket = await self._open(resume)
        self._socket = socket
        try:
            async with asyncio.timeout(WELCOME_S):
                self._welcome(self.hearing.take(self._codec, await socket.recv(decode=False)))
            await self._first_to_end(self._reads(socket), self._writes(socket), self._ticks())
        finally:
            self._socket = None
            self.connected = False
            self._parting = asyncio.create_task(self._part(socket))
            if self.hearing.leave_at == inf:
                await self._parting

    async def _part(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed, OSError):
            await socket.close()

    async def _open(self, resume: str) -> ClientConnection:
        return await connect(
            self._url + (f"&session_id={resume}" if resume else ""),
            additional_headers={"Authorization": f"Bearer {self._token}"},
            subprotocols=[Subprotocol(self._codec.subprotocol)],
            compression=None,
            proxy=None,
            ping_interval=None,
            close_timeout=1.0,
            max_size=None,
        )

    async def _first_to_end(self, *parts: Any) -> None:
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    def _closed(self, code: int, reason: str, *, ours: bool = False) -> None:
        self._log(history.Closed, code=code, reason=reason, ours=ours)
        for letter in self.hearing.outgoing.unanswered():
            self._log(history.Unknown, client_msg_id=letter.frame.client_msg_id, why="closed")
            self.hearing.outgoing.try_again(letter, 0.0)
        for asked in self.hearing.asked.values():
            asked.answer.cancel()
        self.hearing.asked.clear()
        while not self._frames.empty():
            self._frames.get_nowait()

    def _welcome(self, frame: ServerFrame | None) -> None:
        if not isinstance(frame, frames.Welcome):
            raise _Over(f"the first frame was {type(frame).__name__}")
        self._session = self._journal.session = frame.session_id
        self._log(history.Welcome, gateway=frame.gateway_id, resumed=frame.resumed)
        if not frame.resumed:
            self.hearing.delivered = self._acked = 0
            self.hearing.level = False
        self.connected = True

    async def _reads(self, socket: ClientConnection) -> None:
        while True:
            self.hearing.take(self._codec, await socket.recv(decode=False))
            self._send_due(time.monotonic())

    async def _writes(self, socket: ClientConnection) -> None:
        while True:
            frame, note = await self._frames.get()
            if note is not None:
                note()
            async with asyncio.timeout(ANSWER_S):
                await socket.send(self._codec.encode(frame), text=self._codec.text)

    async def _ticks(self) -> None:
        """Everything that is due at some time: acks, pings, repeats, sync, holes."""
        acked_at = time.monotonic()
        pinged_at = acked_at - PING_S + FIRST_PING_S
        upkeep = asyncio.create_task(self._upkeep())
        try:
            while not upkeep.done():
                now = time.monotonic()
                if now >= self.hearing.leave_at:
                    raise _Over("told to go elsewhere")
                if now - acked_at >= ACK_S:
                    acked_at = now
                    self._ack()
                if now - pinged_at >= PING_S:
                    pinged_at = now
                    self._write(frames.Ping(id=self._number()))
                self._send_due(now)
                await asyncio.sleep(TICK_S)
            upkeep.result()
        finally:
            upkeep.cancel()
            await asyncio.gather(upkeep, return_exceptions=True)

    async def _upkeep(self) -> None:
        """Sync to the end, then look after holes."""
        while True:
            if self.hearing.level:
                due = self.hearing.holes.due(time.monotonic())
                for hole in (hole for hole, new in due if new):
                    self._log(history.Gap, **hole._asdict())
                for hole, _ in due:
                    await self._fill(hole)
            else:
                await self._sync()
            await asyncio.sleep(TICK_S)

    def _send_due(self, now: float) -> None:
        outgoing = self.hearing.outgoing
        for letter in outgoing.too_old(now):
            self._log(history.Unknown, client_msg_id=letter.frame.client_msg_id, why="given up", final=True)
            outgoing.finish(letter.frame.client_msg_id)
        for letter in outgoing.unanswered():
            if letter.written_at is not None and now - letter.written_at > ANSWER_S:
                raise _Over("a send is not answered")
        for letter in outgoing.due(now):
            self._write(letter.frame, self._note_of(letter))

    def _note_of(self, letter: Letter) -> Note:
        fields = letter.fields
        return lambda: self._log(history.Send, **fields)

    def _ack(self) -> None:
        n = self.hearing.delivered
        if n > self._acked:
            self._acked = n
            self._write(frames.Ack(n=n), lambda: self._log(history.Acked, n=n))

    # Asking

    def _write(self, frame: ClientFrame, note: Note | None = None) -> None:
        self._frames.put_nowait((frame, note))

    def _number(self) -> str:
        self._asked_count += 1
        return f"{self._journal.client}:{self._asked_count}"

    async def _ask(
        self, make: Callable[[str], ClientFrame], note: Callable[[str], None], after: int = -1
    ) -> Answer | None:
        """The answer; None if the connection ended, which one that takes too long does to it."""
        number = self._number()
        asked = Asked(asyncio.get_running_loop().create_future(), time.monotonic(), after)
        self.hearing.asked[number] = asked
        self._write(make(number), lambda: note(number))
        await asyncio.wait([asked.answer], timeout=ANSWER_S)
        if asked.answer.done() and not asked.answer.cancelled():
            return asked.answer.result()
        self._log(history.Unknown, request=number, why="no answer")
        if not asked.answer.done():
            self.drop(forget=False)
        return None

    async def _sync(self) -> bool:
        """Everything since the token, page by page; False if it did not come to its end."""
        while True:
            page = await self._ask(self._sync_frame, self._note_sync)
            if not isinstance(page, frames.Page):
                await asyncio.sleep(RETRY_S)
                return False
            if not page.more:
                self.hearing.level = True
                return True

    def _sync_frame(self, number: str) -> ClientFrame:
        return frames.Sync(token=self.hearing.sync_token or None, limit=SYNC_LIMIT, id=number)

    def _note_sync(self, number: str) -> None:
        self._log(history.SyncAsked, request=number, token=self.hearing.sync_token)

    async def _fill(self, hole: Hole) -> bool:
        """Ask for what is missing there, as far as there is any; False if no answer came."""
        after = hole.first - 1
        while after < hole.last:
            page = await self._page_after(hole.conversation, after, min(PAGE_LIMIT, hole.last - after))
            if not isinstance(page, frames.HistoryPage):
                return isinstance(page, frames.Error) and not page.temporary
            if not page.messages or not page.more:
                return True
            after = max(message.seq for message in page.messages)
        return True

    async def _page_after(self, conversation: str, after: int, limit: int) -> Answer | None:
        fields = {"conversation": conversation, "after": after, "limit": limit}
        return await self._ask(
            lambda number: frames.History(
                conversation_id=conversation, after_seq=after, limit=limit, id=number
            ),
            lambda number: self._log(history.HistoryAsked, request=number, **fields),
            after,
        )

    async def _fill_all(self, holes: list[Hole]) -> bool:
        for hole in holes:
            if not await self._fill(hole):
                return False
        return True

    def _log(self, event: Any, **fields: Any) -> None:
        self._journal.log(event, **fields)
