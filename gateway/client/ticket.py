"""The handle of one send."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.client.events import MessageSent
from schemas.errors import ImError

__all__ = ["Ticket"]


class Ticket:
    """One send that is in the outbox. Both waits may be repeated, cancelled and left out.

    They raise `ServerRefused` if the send was rejected, and `ClientClosed` if the client ended before the
    answer came; a persisted outbox sends it in the next run then.
    """

    def __init__(self, client_msg_id: str, conversation_id: str) -> None:
        self.client_msg_id = client_msg_id
        self.conversation_id = conversation_id
        loop = asyncio.get_running_loop()
        self._accepted: asyncio.Future[int] = loop.create_future()
        self._sent: asyncio.Future[MessageSent] = loop.create_future()
        for future in (self._accepted, self._sent):
            future.add_done_callback(_look_at)

    @property
    def done(self) -> bool:
        """Whether it was sent or failed."""
        return self._sent.done()

    async def accepted(self) -> int:
        """Wait until the server keeps it; the time of that in ms."""
        return await asyncio.shield(self._accepted)

    async def sent(self) -> MessageSent:
        """Wait until it has its place in the conversation: `seq`, `message_id`, `sent_at_ms`."""
        return await asyncio.shield(self._sent)

    def resolve_accepted(self, accepted_at_ms: int) -> None:
        """For the client: the server keeps it."""
        if not self._accepted.done():
            self._accepted.set_result(accepted_at_ms)

    def resolve_sent(self, sent: MessageSent) -> None:
        """For the client: it has its place."""
        self.resolve_accepted(sent.sent_at_ms)
        if not self._sent.done():
            self._sent.set_result(sent)

    def fail(self, error: ImError) -> None:
        """For the client: there will be no better answer."""
        for future in (self._accepted, self._sent):
            if not future.done():
                future.set_exception(error)


def _look_at(future: asyncio.Future[Any]) -> None:
    """A failure that nobody waits for is also an event; it is no forgotten exception."""
    if not future.cancelled():
        future.exception()
