"""Who is there: answers to `presence.subscribe`, and `presence` frames when it changes.

A gateway where a device comes or goes asks Redis which gateways watch that user, and tells only these
(`comings.py`): most changes are watched by nobody, and cost one entry in a call that is made anyway. What it
tells is that something changed, not what: the watching gateway reads the user's routes itself. So two
changes that overtake each other on the way end in the same, right, state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog

from gateway.hub import Hub
from gateway.session import Session, State
from gateway.wire import frame_bytes
from infra.clock import Clock
from infra.ports import HistoryStore, Route, RouteTable
from infra.together import look_up
from schemas.conversation import fold
from schemas.errors import Unavailable
from schemas.frames import Ok, Presence, PresenceSubscribe, PresenceUnsubscribe
from schemas.ids import direct_conversation

__all__ = ["Watching"]

log = structlog.get_logger(__name__)

_GATHER_S: Final = 0.05
_LOOK_S: Final = 2.0
_RENEW_S: Final = 1_200.0
_REFRESH_S: Final = 60.0
_BATCH: Final = 500
_PARALLEL: Final = 16


class Watching:
    """Keeps the sessions here informed about the users they watch.

    Anybody may watch anybody, except users who have blocked him: to him they are never there. That is
    judged when he subscribes. Frames are ephemeral: a slow or cut session misses some, and is told anew
    when it resumes. What nobody told (a gateway that died, a lost record) is noticed within seconds by the
    leases, and at the latest by reading everything again each minute.
    """

    def __init__(
        self,
        routes: RouteTable,
        history: HistoryStore,
        hub: Hub,
        clock: Clock,
        gateway_id: str,
        told: Callable[[], None],
    ) -> None:
        self._routes = routes
        self._history = history
        self._hub = hub
        self._watchers = hub.watchers
        self._clock = clock
        self._gateway_id = gateway_id
        self._flush = told
        self._known: dict[str, Presence] = {}
        self._stale: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._reading = asyncio.Lock()
        self._gateways: dict[str, str] = {}

    # What clients ask

    async def subscribe(self, session: Session, ask: PresenceSubscribe) -> Ok:
        """Watch these users from now on. Raises `Refused` for too many, and `Unavailable`."""
        named = list(dict.fromkeys(ask.user_ids))
        hidden = await self._hidden_from(session.user_id, named)
        seen = [user_id for user_id in named if user_id not in hidden]
        if session.state is State.CLOSED:
            return Ok(re=ask.id, presence=[])
        self._watchers.remove(session, hidden)
        self._watchers.add(session, seen)
        try:
            await self._routes.watch(seen, self._gateway_id)
            await self._read(seen, but=session)
        except Unavailable:
            self._watchers.remove(session, seen)
            raise
        return Ok(re=ask.id, presence=[self._known.get(user_id) or _absent(user_id) for user_id in named])

    async def unsubscribe(self, session: Session, ask: PresenceUnsubscribe) -> Ok:
        """Watch these users no longer."""
        self._watchers.remove(session, ask.user_ids)
        return Ok(re=ask.id, presence=[])

    async def look(self, user_id: str) -> Presence:
        """Whether one user is there now. Raises `Unavailable`."""
        return (await self._presence_of([user_id]))[0]

    # What happens

    def changed(self, user_id: str) -> None:
        """Something changed for this user, somewhere: look at him soon, if anybody here watches."""
        if user_id in self._watchers:
            self._stale.add(user_id)
            if self._task is None:
                self._task = asyncio.create_task(self._catch_up())

    def welcomed(self, session: Session) -> None:
        """A session has a connection (again): tell it what it may have missed."""
        for user_id in self._watchers.watched_by(session):
            if (known := self._known.get(user_id)) is not None:
                session.send(known)

    async def run(self) -> None:
        """Notice what nobody tells, until cancelled."""
        renew_at = self._clock.monotonic() + _RENEW_S
        refresh_at = self._clock.monotonic() + _REFRESH_S
        while True:
            await asyncio.sleep(_LOOK_S)
            now = self._clock.monotonic()
            try:
                if now >= renew_at:
                    await self._routes.watch(self._watchers.users(), self._gateway_id)
                    renew_at = now + _RENEW_S
                gateways = await self._routes.live_gateways()
                if gateways != self._gateways or now >= refresh_at:
                    await self._read(self._watchers.users())
                    self._gateways, refresh_at = gateways, now + _REFRESH_S
            except Unavailable as error:
                log.warning("presence not read", error=str(error))

    async def _catch_up(self) -> None:
        try:
            await asyncio.sleep(_GATHER_S)
            while self._stale:
                stale, self._stale = list(self._stale), set()
                await self._read(stale)
        except Unavailable as error:
            log.warning("presence not read", error=str(error))
        finally:
            self._task = None

    async def _read(self, user_ids: Sequence[str], but: Session | None = None) -> None:
        """Look at these users, and tell who watches them what is new; one reading at a time, so that an
        older answer never comes after a newer one."""
        async with self._reading:
            for start in range(0, len(user_ids), _BATCH):
                for presence in await self._presence_of(user_ids[start : start + _BATCH]):
                    self._take(presence, but)
            for user_id in [u for u in self._known if u not in self._watchers]:
                del self._known[user_id]
        self._flush()

    async def _presence_of(self, user_ids: Sequence[str]) -> list[Presence]:
        routes = await self._routes.routes_of(user_ids)
        away = [user_id for user_id in user_ids if user_id not in routes]
        seen = await self._routes.last_seen(away)
        return [
            _present(user_id, routes[user_id]) if user_id in routes else _absent(user_id, seen.get(user_id))
            for user_id in user_ids
        ]

    def _take(self, presence: Presence, but: Session | None) -> None:
        if presence.user_id not in self._watchers or self._known.get(presence.user_id) == presence:
            return
        self._known[presence.user_id] = presence
        for session in self._watchers.of(presence.user_id):
            if session is not but:
                session.put_ephemeral(frame_bytes(session.codec, session.codec.encode(presence)))

    async def _hidden_from(self, user_id: str, others: Sequence[str]) -> set[str]:
        """Those of the others who take nothing from this user."""

        async def blocks(other: str) -> bool:
            conversation_id = direct_conversation(user_id, other)
            events = await self._history.events(conversation_id)
            state = fold(conversation_id, [(e.seq, e.kind, e.content) for e in events])
            return other in state.blocked_by

        answers = await look_up((other for other in others if other != user_id), blocks, _PARALLEL)
        return {other for other, hides in answers.items() if hides}


def _present(user_id: str, routes: Iterable[Route]) -> Presence:
    return Presence(user_id=user_id, online=True, platforms=sorted({route.platform for route in routes}))


def _absent(user_id: str, last_seen_ms: int | None = None) -> Presence:
    return Presence(user_id=user_id, online=False, platforms=[], last_seen_ms=last_seen_ms)
