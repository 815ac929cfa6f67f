"""A request over HTTP that waits for its place in the order, as a session would."""

from __future__ import annotations

import asyncio

from gateway.answers import refused_frame, sent_frame
from schemas.errors import Refused
from schemas.frames import Accepted, Rejected, Sent
from schemas.records import Message

__all__ = ["HttpCall"]


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
