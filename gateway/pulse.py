"""Answers to `ping`: what changed, and how far the client's token may move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from gateway.downlink import Downlink
from gateway.missed import Missed
from gateway.session import Session, State
from infra.clock import Clock
from infra.ports import RouteTable
from schemas.errors import Unavailable
from schemas.frames import Pong, RequestId

__all__ = ["SYNC_STAGES", "Pulse"]

log = structlog.get_logger(__name__)

SYNC_STAGES: Final = ("fanout", "persistence")
"""What lies before the watermarks of these stages was delivered and can be read."""
_GATHER_S: Final = 0.02
_WATERMARK_S: Final = 1.0
_BATCH: Final = 1_000


class Pulse:
    """Gathers the pings of some 20 ms into one call. Redis away: a pong without heads, its token unmoved."""

    def __init__(
        self,
        routes: RouteTable,
        downlink: Downlink,
        clock: Clock,
        partitions: int,
        missed: Missed,
        told: Callable[[], None],
    ) -> None:
        self._routes = routes
        self._missed = missed
        self._downlink = downlink
        self._clock = clock
        self._partitions = partitions
        self._told = told
        self._waiting: list[tuple[Session, RequestId | None]] = []
        self._task: asyncio.Task[None] | None = None
        self.consumed_ms = 0
        """Everything below is fanned out, stored, and handed to the sessions here."""

    def ping(self, session: Session, re: RequestId | None) -> None:
        self._waiting.append((session, re))
        if self._task is None:
            self._task = asyncio.create_task(self._answer_all())

    async def run(self) -> None:
        """Follow the watermarks until cancelled."""
        while True:
            try:
                reached_ms = await self._routes.watermark(SYNC_STAGES, self._partitions)
                if await self._downlink.caught_up():
                    self.consumed_ms = max(self.consumed_ms, reached_ms)
            except Unavailable as error:
                log.warning("watermarks not read", error=str(error))
            await asyncio.sleep(_WATERMARK_S)

    async def _answer_all(self) -> None:
        try:
            await asyncio.sleep(_GATHER_S)
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                await self._answer(batch)
        finally:
            self._task = None

    async def _answer(self, batch: list[tuple[Session, RequestId | None]]) -> None:
        consumed_ms = self.consumed_ms
        try:
            heads = await self._routes.pulse([(s.user_id, s.progress.announced_ms) for s, _ in batch])
        except Unavailable as error:
            log.warning("heads not read", error=str(error))
            heads = []
        missed = await self._look_up_missed([session for session, _ in batch]) if heads else {}
        now_ms = self._clock.now_ms()
        for index, (session, re) in enumerate(batch):
            if session.state is not State.OPEN:
                continue
            changed, token = {}, session.progress.token
            if index in missed:
                changed = heads[index] | missed[index]
                if session.progress.recount(consumed_ms):
                    token = session.progress.announce(consumed_ms, len(changed), session.window.oldest_ms)
            elif heads and not session.progress.lost_at_ms:
                changed = heads[index]
                token = session.progress.announce(consumed_ms, len(changed), session.window.oldest_ms)
            session.send(Pong(server_time_ms=now_ms, token=token, heads=changed, re=re))
        self._told()

    async def _look_up_missed(self, sessions: Sequence[Session]) -> dict[int, dict[str, int]]:
        """For those that were here when the table was lost, by their place: heads from the history.

        Away: none, and the next pong looks again.
        """
        found: dict[int, dict[str, int]] = {}
        for index, session in enumerate(sessions):
            if session.progress.lost_at_ms:
                try:
                    since_ms = max(session.progress.have_ms, 0)
                    found[index] = await self._missed.heads(session.user_id, since_ms)
                except Unavailable as error:
                    log.warning("missed heads not read", error=str(error))
        return found
