"""Emptying a gateway that goes on running: its clients leave one after another, over the time given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Final

import structlog

from gateway.health import Health
from gateway.hub import Hub
from gateway.lobby import Lobby
from gateway.room import Room
from gateway.session import State
from infra.clock import Clock
from schemas.codes import CloseCode
from schemas.errors import Unavailable
from schemas.frames import Drain
from schemas.orders import CloseOrder

__all__ = ["Emptying", "due_count"]

log = structlog.get_logger(__name__)

_STEP_S: Final = 0.1
_GRACE_S: Final = 5.0
"""How long a client may take to finish and leave once it was told; then it is closed with 4000."""


def due_count(total: int, elapsed_s: float, over_s: float) -> int:
    """How many of all should have been told by now: evenly, the first at once, the last before the end."""
    if elapsed_s >= over_s:
        return total
    return min(total, ceil(total * (elapsed_s + _STEP_S) / over_s))


class Emptying:
    """Obeys the order to drain, and the one to take clients again; empties a gateway that is to end, too.

    From then on nobody new comes in (503), the gateway leaves the set for dispatch, and `/readyz`
    says no. Each client is told by `drain` when its turn has come; it goes elsewhere by itself, and its
    route with it. Nothing is lost: what it was not told of comes by sync, what was not answered it sends
    again. At the end the gateway stays, empty, until it is told otherwise or started again.
    """

    def __init__(
        self,
        hub: Hub,
        lobby: Lobby,
        health: Health,
        room: Room,
        announce: Callable[[], Awaitable[None]],
        clock: Clock,
        told: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._lobby = lobby
        self._health = health
        self._room = room
        self._announce = announce
        self._clock = clock
        self._told = told
        self._task: asyncio.Task[None] | None = None

    def obey(self, order: CloseOrder) -> None:
        """Begin to drain, begin anew with another time, or (`undo`) take clients again."""
        self.stop()
        work = self._reopen() if order.undo else self.empty(order.over_ms / 1000, _GRACE_S)
        self._task = asyncio.create_task(work)

    def stop(self) -> None:
        """Leave things as they are."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _reopen(self) -> None:
        self._lobby.draining = self._health.draining = False
        self._room.state = "open"
        log.info("gateway takes clients again")
        await self._say()

    async def empty(self, over_s: float, grace_s: float) -> None:
        """Tell everybody, evenly over this time, and return when nobody is connected any more.

        Who opens his next connection before he leaves this one misses nothing meanwhile. Who was told
        `grace_s` ago and is still here is closed.
        """
        log.info("gateway drains", sessions=len(self._hub.sessions), over_s=over_s)
        self._lobby.draining = self._health.draining = True
        self._room.state = "draining"
        await self._say()
        sessions = list(self._hub.sessions.values())
        began_at = self._clock.monotonic()
        last_at = [began_at] * len(sessions)
        told = closed = 0
        while closed < len(sessions):
            now = self._clock.monotonic()
            for index in range(told, due_count(len(sessions), now - began_at, over_s)):
                sessions[index].send(Drain(reconnect_after_ms=0))
                last_at[index] = now + grace_s
                told = index + 1
            while closed < told and last_at[closed] <= now:
                sessions[closed].close(CloseCode.DRAIN)
                closed += 1
            self._told()
            if not any(session.state in (State.OPENING, State.OPEN) for session in sessions):
                break
            await asyncio.sleep(_STEP_S)
        self._told()
        await asyncio.sleep(_STEP_S)
        for session in self._hub.sessions.values():
            session.close(CloseCode.DRAIN)  # one that waits to be resumed can be resumed nowhere
        self._room.state = "drained"
        log.info("gateway drained", sessions=len(sessions))
        await self._say()

    async def _say(self) -> None:
        try:
            await self._announce()
        except Unavailable as error:
            log.warning("not announced yet; the next renewal of the lease does", error=str(error))
