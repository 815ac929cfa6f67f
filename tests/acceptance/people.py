"""People for acceptance tests: SDK clients that remember every message they were shown."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, Self

from gateway.client.client import Client
from gateway.client.events import MessageNew
from schemas.frames import Message
from tests.acceptance.patience import PATIENCE_S, eventually, until

__all__ = ["Person"]


class Person:
    """`async with Person(system, "alice") as alice:` — connected, reading, and keeping what arrives."""

    def __init__(
        self,
        system: Any,
        user_id: str,
        device_id: str = "phone",
        codec: Literal["json", "msgpack"] = "json",
        region: str = "",
    ) -> None:
        """With a `region` the gateway is chosen among those of that region."""
        self.user_id = user_id
        self.client = Client(
            system.url,
            system.token(user_id),
            device_id=device_id,
            codec=codec,
            connect_timeout_s=PATIENCE_S,
            dispatch=bool(region),
            region=region,
        )
        self.seen: list[Message] = []
        self.events: list[Any] = []

    async def __aenter__(self) -> Self:
        await self.client.__aenter__()
        self._reader = asyncio.create_task(self._read())
        await eventually(lambda: self.client.state == "connected")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self.client.close()

    async def say(self, conversation_id: str, text: str) -> int:
        """Send and return the seq."""
        ticket = await self.client.send(conversation_id, text)
        return (await asyncio.wait_for(ticket.sent(), PATIENCE_S)).seq

    def texts(self, conversation_id: str) -> list[str]:
        """What was shown of a conversation, in the order it was shown."""
        return [
            m.content["text"] for m in self.seen if m.conversation_id == conversation_id and m.kind == "text"
        ]

    def seqs(self, conversation_id: str) -> list[int]:
        return [m.seq for m in self.seen if m.conversation_id == conversation_id]

    async def hears(self, conversation_id: str, text: str) -> None:
        """Return once this text was shown."""
        await eventually(lambda: text in self.texts(conversation_id))

    async def reads(self, conversation_id: str, seq: int) -> None:
        """Return once history holds this seq: it lags behind `sent` by the storing time."""
        await until(
            lambda: self.client.history(conversation_id, limit=1),
            lambda page: any(message.seq >= seq for message in page.messages),
        )

    async def has(self, conversation_id: str, *seqs: int) -> None:
        """Return once so many messages were shown, own ones too; they must be these, in this order."""
        await eventually(lambda: len(self.seqs(conversation_id)) >= len(seqs))
        assert self.seqs(conversation_id) == list(seqs)

    async def _read(self) -> None:
        async for event in self.client:
            self.events.append(event)
            message = event.message if isinstance(event, MessageNew) else getattr(event, "change", None)
            if message is not None:
                self.seen.append(message)
