"""A user of the Python SDK: what the application asked for, and what it was told, in the journal."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, Final

from gateway.client.client import Client
from gateway.client.errors import ClientClosed, OutboxFull, ServerRefused
from gateway.client.events import (
    ConversationUpdated,
    Event,
    Gap,
    MessageAccepted,
    MessageNew,
    MessageRecalled,
    MessageRejected,
    MessageSent,
    MessageUpdated,
    StateChanged,
)
from schemas import frames
from schemas.errors import OutcomeUnknown, Unavailable
from tests.faults import history
from tests.faults.workload.holes import Hole, Holes
from tests.faults.workload.journal import Journal, all_seen, seen_of
from tests.faults.workload.outgoing import WAITING, Letter
from tests.faults.workload.wishes import Wish

__all__ = ["SdkClient"]

PAGE_LIMIT: Final = 200
TAIL_S: Final = 12.0
"""A lost tail is found within one heartbeat; two are waited for."""
RETRY_S: Final = 0.3


class SdkClient:
    """One device of one user, through the SDK. `start`, then ask it for things, until `close`."""

    def __init__(self, url: str, token: str, user: str, device: str, journal: Journal) -> None:
        self.user = user
        self.own: deque[tuple[str, int]] = deque(maxlen=50)
        self._client = Client(url, token, device_id=device, connect_timeout_s=0, event_limit=10_000)
        self._journal = journal
        self._holes = Holes()
        self._waiting: dict[str, Letter] = {}
        self._asked = 0
        self._reader: asyncio.Task[None] | None = None
        journal.log(history.Client, user=user, device=device, sdk=True)

    async def start(self) -> None:
        await self._client.__aenter__()
        self._reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        await self._client.close(drain_s=0)
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    @property
    def connected(self) -> bool:
        return self._client.state == "connected"

    def typing(self, conversation: str) -> None:
        """Not done here: what may be lost is left to the raw clients."""

    def drop(self, *, forget: bool) -> None:
        """Not done here: the network does it to the SDK."""

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def top(self, conversation: str) -> int:
        return self._holes.top(conversation)

    async def send(self, letter: Letter) -> bool:
        """Put it into the outbox; False if too much waits in its conversation."""
        frame = letter.frame
        waiting = (letter.frame.conversation_id for letter in self._waiting.values())
        if sum(conversation == frame.conversation_id for conversation in waiting) >= WAITING:
            return False
        self._log(history.Send, **letter.fields)
        self._waiting[frame.client_msg_id] = letter
        try:
            await self._submit(letter)
        except (ClientClosed, OutboxFull) as error:
            self._waiting.pop(frame.client_msg_id, None)
            self._log(history.Unknown, client_msg_id=frame.client_msg_id, why=str(error), final=True)
            return False
        return True

    async def request(self, wish: Wish) -> int | None:
        """Ask once; the error's code, 0 for ok, None if no answer came."""
        if not self.connected:
            return None
        number = self._number()
        self._log(history.Request, request=number, **wish.fields)
        try:
            await self._ask(wish)
        except ServerRefused as refused:
            code, temporary = refused.code, refused.temporary
            self._log(history.Answer, request=number, code=code, temporary=temporary)
            return code
        except (OutcomeUnknown, Unavailable, ClientClosed) as error:
            self._log(history.Unknown, request=number, why=str(error))
            return None
        self._log(history.Answer, request=number)
        return 0

    async def read(self, conversation: str, seq: int) -> None:
        self._log(history.Read, conversation=conversation, seq=seq)
        await self._client.read(conversation, seq)

    async def settle(self) -> None:
        """Wait until the SDK must have found its tail, ask for what it said it lacks, say so."""
        while not self.connected:
            await asyncio.sleep(RETRY_S)
        await asyncio.sleep(TAIL_S)
        for hole in self._holes.all():
            await self._fill(hole)
        self._log(history.Settled)

    async def _fill(self, hole: Hole) -> None:
        after = hole.first - 1
        while after < hole.last:
            page = await self._page_after(hole.conversation, after, min(PAGE_LIMIT, hole.last - after))
            if page is None or not page.messages:
                return
            after = max(message.seq for message in page.messages)
            if not page.more:
                return

    async def _page_after(self, conversation: str, after: int, limit: int) -> frames.HistoryPage | None:
        """One page; None for a refusal. Asked again while there is no answer."""
        while True:
            number, asked_t = self._number(), time.monotonic()
            self._log(
                history.HistoryAsked, request=number, conversation=conversation, after=after, limit=limit
            )
            try:
                page = await self._client.history(conversation, after_seq=after, limit=limit)
            except ServerRefused as refused:
                self._log(history.Answer, request=number, code=refused.code, temporary=refused.temporary)
                if not refused.temporary:
                    return None
            except (OutcomeUnknown, Unavailable) as error:
                self._log(history.Unknown, request=number, why=str(error))
            else:
                seen = all_seen(page.messages)
                self._log(
                    history.GotHistory,
                    conversation=conversation,
                    messages=seen,
                    request=number,
                    asked_t=asked_t,
                    after=after,
                    more=page.more,
                )
                return page
            await asyncio.sleep(RETRY_S)

    async def _submit(self, letter: Letter) -> None:
        frame, client, name = letter.frame, self._client, letter.frame.client_msg_id
        match frame:
            case frames.Send():
                await client.send(frame.conversation_id, frame.content, client_msg_id=name)
            case frames.Edit():
                await client.edit(frame.conversation_id, frame.seq, frame.content, client_msg_id=name)
            case frames.Recall():
                await client.recall(frame.conversation_id, frame.seq, client_msg_id=name)
            case frames.React():
                await client.react(
                    frame.conversation_id, frame.seq, frame.emoji, add=frame.add, client_msg_id=name
                )

    async def _ask(self, wish: Wish) -> None:
        client, users = self._client, wish.users
        match wish.op:
            case "group.create":
                name = wish.conversation.removeprefix("g:")
                await client.create_group(name, users, group_id=name)
            case "group.add":
                await client.add_members(wish.conversation, users)
            case "group.remove":
                await client.remove_members(wish.conversation, users)
            case "group.leave":
                await client.leave_group(wish.conversation)
            case "conversation.block":
                raise Unavailable("the SDK blocks nobody")

    async def _read(self) -> None:
        async for event in self._client:
            self._note(event)

    def _note(self, event: Event) -> None:
        match event:
            case MessageNew():
                self._saw(event.message)
            case MessageUpdated() | MessageRecalled() | ConversationUpdated():
                if event.change is not None:
                    self._saw(event.change)
            case MessageAccepted():
                self._log(history.Accepted, client_msg_id=event.client_msg_id)
            case MessageSent():
                self._sent(event)
            case MessageRejected():
                self._rejected(event)
            case Gap():
                where = {"conversation": event.conversation_id, "first": event.from_seq, "last": event.to_seq}
                self._log(history.Gap, **where, by="sdk")
            case StateChanged(state="closed"):
                self._log(history.Closed, code=event.code or 0, reason=event.reason)
            case _:
                pass

    def _saw(self, message: frames.Message) -> None:
        self._holes.have(message.conversation_id, message.seq, 0.0, "sdk")
        self._log(history.Saw, messages=[seen_of(message)])

    def _sent(self, event: MessageSent) -> None:
        letter = self._waiting.pop(event.client_msg_id, None)
        if letter is not None and isinstance(letter.frame, frames.Send):
            self.own.append((event.conversation_id, event.seq))
        self._log(
            history.Sent,
            client_msg_id=event.client_msg_id,
            conversation=event.conversation_id,
            seq=event.seq,
            message_id=event.message_id,
        )

    def _rejected(self, event: MessageRejected) -> None:
        self._waiting.pop(event.client_msg_id, None)
        self._log(
            history.Rejected,
            client_msg_id=event.client_msg_id,
            conversation=event.conversation_id,
            code=event.code,
            temporary=event.temporary,
        )

    def _number(self) -> str:
        self._asked += 1
        return f"{self._journal.client}:{self._asked}"

    def _log(self, event: Any, **fields: Any) -> None:
        self._journal.log(event, **fields)
