"""Somebody who knows the protocol's page and nothing else: a socket, and frames as plain objects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.acceptance.patience import PATIENCE_S, until
from tests.connecting import connected
from tests.contracts.frames import check_server_frame

__all__ = ["Frame", "Stranger", "together"]

Frame = dict[str, Any]


class Stranger:
    """One connection. `frames` is everything it was told, in order; `welcome` the first of it."""

    def __init__(self, socket: ClientConnection, subprotocol: str) -> None:
        self.socket = socket
        self.frames: list[Frame] = []
        self.welcome: Frame = {}
        self.patience_s = PATIENCE_S
        self._msgpack = subprotocol == "im.v1.msgpack"
        self._unseen: list[Frame] = []
        self._asked = 0

    @staticmethod
    @asynccontextmanager
    async def on(
        system: Any, user: str, device: str = "phone", subprotocol: str = "im.v1.json", **query: str
    ) -> AsyncIterator[Stranger]:
        """`async with Stranger.on(system, "ann") as ann:` — connected and welcomed."""
        more = "".join(f"&{name}={value}" for name, value in query.items())
        url = f"{system.ws_url}?device_id={device}&platform=desktop{more}"
        headers = {"Authorization": f"Bearer {system.token(user)}"}
        subprotocols = [Subprotocol(subprotocol)]
        async with await connected(url, additional_headers=headers, subprotocols=subprotocols) as socket:
            stranger = Stranger(socket, subprotocol)
            stranger.welcome = await stranger.sees(type="welcome")
            yield stranger

    async def say(self, frame_type: str, **fields: Any) -> None:
        """Write a frame, and wait for nothing."""
        await self.say_raw(self.encode({"type": frame_type, **fields}))

    async def say_raw(self, data: str | bytes) -> None:
        await self.socket.send(data)

    def encode(self, frame: Frame) -> str | bytes:
        return msgspec.msgpack.encode(frame) if self._msgpack else json.dumps(frame)

    async def ask(self, frame_type: str, **fields: Any) -> Frame:
        """Write a request and return its (first) answer."""
        self._asked += 1
        await self.say(frame_type, id=self._asked, **fields)
        return await self.sees(re=self._asked)

    async def send(self, conversation_id: str, text: str, **fields: Any) -> Frame:
        """Send a text and return how it ended: `sent` or `rejected`."""
        self._asked += 1
        send = {
            "client_msg_id": f"m{self._asked}",
            "conversation_id": conversation_id,
            "kind": "text",
            "content": {"text": text},
        } | fields
        await self.say("send", id=self._asked, **send)
        return await self.ends(re=self._asked)

    async def change(self, frame_type: str, conversation_id: str, seq: int, **fields: Any) -> Frame:
        """Recall, edit or react, and return how it ended."""
        self._asked += 1
        place = {"conversation_id": conversation_id, "seq": seq}
        await self.say(frame_type, id=self._asked, client_msg_id=f"m{self._asked}", **place, **fields)
        return await self.ends(re=self._asked)

    async def ends(self, **fields: Any) -> Frame:
        """How a send ended, whether or not it was `accepted` before."""
        while (frame := await self.sees(**fields))["type"] == "accepted":
            pass
        return frame

    async def sees(self, **fields: Any) -> Frame:
        """The first frame with these fields that was not returned before."""
        async with asyncio.timeout(self.patience_s):
            while True:
                for frame in self._unseen:
                    if all(frame.get(name) == value for name, value in fields.items()):
                        self._unseen.remove(frame)
                        return frame
                await self._read()

    def put_back(self, frame: Frame) -> None:
        """It is to be seen once more."""
        self._unseen.insert(0, frame)

    async def hears(self, conversation_id: str, seq: int) -> Frame:
        """The message at this place, once it was delivered."""
        async with asyncio.timeout(self.patience_s):
            while True:
                for message in self.messages(conversation_id):
                    if message["seq"] == seq:
                        return message
                await self._read()

    async def stored(self, conversation_id: str, seq: int) -> Frame:
        """The newest page of history, once it holds this seq: it lags behind `sent` by the storing time."""
        return await until(
            lambda: self.ask("history", conversation_id=conversation_id),
            lambda page: any(message["seq"] >= seq for message in page.get("messages", [])),
        )

    def messages(self, conversation_id: str) -> list[Frame]:
        """What was delivered of a conversation so far, in order.

        A delivery that came again under its old n, because nobody acked it in time, is one delivery.
        """
        deliveries = {frame["n"]: frame for frame in self.frames if frame["type"] == "deliver"}
        return [
            message
            for frame in deliveries.values()
            for message in frame["messages"]
            if message["conversation_id"] == conversation_id
        ]

    async def closed(self) -> int:
        """The code that the server closes the connection with."""
        async with asyncio.timeout(self.patience_s):
            with suppress(ConnectionClosed):
                while True:
                    await self._read()
        assert self.socket.close_code is not None
        return self.socket.close_code

    async def _read(self) -> None:
        data = await self.socket.recv()
        assert isinstance(data, bytes) is self._msgpack
        frame = msgspec.msgpack.decode(data) if isinstance(data, bytes) else json.loads(data)
        check_server_frame(frame)
        self.frames.append(frame)
        self._unseen.append(frame)


async def together(entered: AsyncExitStack, system: Any, *users: str, **options: Any) -> list[Stranger]:
    """A connection of each user, until the stack ends."""
    return [await entered.enter_async_context(Stranger.on(system, user, **options)) for user in users]
