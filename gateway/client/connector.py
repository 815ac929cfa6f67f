"""The connections of a client, one after the other: where to, as whom, and how a drained one is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.client.address import Address
from gateway.client.dispatch import Dispatcher
from gateway.client.link import Link, LinkEnd, open_link
from schemas.codes import CloseCode
from schemas.frames import FrameCodec, ServerFrame

__all__ = ["Connector", "Welcomed", "drained"]

WELCOME_TIMEOUT_S: Final = 10.0
Welcomed = tuple[Link, ServerFrame | None]
"""An open connection, and the first frame that came on it."""


class Connector:
    """Opens connections and closes them; a drained one serves until the next one is open."""

    def __init__(
        self,
        address: Address,
        dispatcher: Dispatcher | None,
        token: str | Callable[[], str],
        codec: FrameCodec,
    ) -> None:
        self.address = address
        """Where the last connection went, or the first one will go."""
        self._dispatcher = dispatcher
        self._token = token
        self._codec = codec
        self._moving: asyncio.Task[Welcomed] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self, session_id: str | None) -> Welcomed:
        """The connection to converse on now: the one that was moved to, or a new one. Raises `LinkEnd`."""
        opened, self._moving = self._moving, None
        return await (opened or self._connect(session_id))

    async def _connect(self, session_id: str | None) -> Welcomed:
        """Connect and be welcomed. Raises `LinkEnd`."""
        token = self._token if isinstance(self._token, str) else self._token()
        if self._dispatcher is not None:
            self.address = await self._dispatcher.address(token)
        link = await open_link(self.address, token, session_id, self._codec)
        try:
            async with asyncio.timeout(WELCOME_TIMEOUT_S):
                return link, await link.read()
        except TimeoutError:
            await link.close()
            raise LinkEnd(0, "the server did not say welcome") from None
        except BaseException:
            await link.close()
            raise

    def ended(self, end: LinkEnd) -> None:
        """The connection ended, or none came about: the next one may go elsewhere."""
        if self._dispatcher is not None:
            self._dispatcher.ended(end)

    # Moving

    def move(self, session_id: str | None, then: Callable[[], None]) -> None:
        """Open the next connection while this one still serves, and call back when that is done."""
        self.ended(drained())
        self._moving = asyncio.create_task(self._connect(session_id), name="skein-client-mover")
        self._moving.add_done_callback(lambda _: then())

    @property
    def moving(self) -> bool:
        """Whether the next connection is asked for, or open already."""
        return self._moving is not None

    @property
    def answered(self) -> bool:
        """Whether it is known what came of moving."""
        return self._moving is not None and self._moving.done()

    async def moved(self) -> bool:
        """Whether the next connection is open; waits for one that is asked for."""
        if self._moving is None:
            return False
        await asyncio.wait([self._moving])
        if self._moving.cancelled() or self._moving.exception() is not None:
            self._moving = None
        return self._moving is not None

    # Leaving

    async def leave(self, link: Link) -> None:
        """Close a connection; who has moved does not wait for it."""
        closing = asyncio.create_task(link.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        if self._moving is None:
            await asyncio.shield(closing)

    async def close(self) -> None:
        """Leave nothing open."""
        if self._moving is not None:
            self._moving.cancel()
            if await self.moved():
                link, _ = self._moving.result()
                await link.close()
        await asyncio.gather(*self._closing, return_exceptions=True)


def drained() -> LinkEnd:
    """Why a connection is left that has been moved from."""
    return LinkEnd(int(CloseCode.DRAIN), "the gateway is being drained")
