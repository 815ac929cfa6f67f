"""Who comes in and who goes: admission, resume, replacement, and the sweep that ends what time has ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import structlog

from gateway.auth import TokenVerifier
from gateway.handshake import Opening
from gateway.heartbeat import agree
from gateway.hub import Hub
from gateway.limits.guard import Guard
from gateway.metrics import Metrics
from gateway.presence import Presence
from gateway.room import Room
from gateway.session import Link, Session, State
from gateway.session_rules import SessionRules
from gateway.standstill import Standstill
from infra.clock import Clock
from schemas.codes import CloseCode, Code
from schemas.errors import Refused, Unavailable
from schemas.ids import new_name

__all__ = ["Lobby"]

log = structlog.get_logger(__name__)

SWEEP_S: Final = 0.1
SWEEP_SLICES: Final = 10
"""Every session is looked at once a second, a tenth of them at a time."""


class Lobby:
    """Admits sessions and lets them go.

    A device has one connection. A session whose connection was cut is kept for the resume window,
    with its route, so that nothing passes it by.
    """

    def __init__(
        self,
        hub: Hub,
        presence: Presence,
        verifier: TokenVerifier,
        rules: SessionRules,
        clock: Clock,
        metrics: Metrics,
        room: Room,
        guard: Guard,
    ) -> None:
        self._hub = hub
        self._presence = presence
        self._verifier = verifier
        self._rules = rules
        self._clock = clock
        self._metrics = metrics
        self._room = room
        self._guard = guard
        self._standstill = Standstill()
        self._sweeping: Iterator[Session] = iter(())
        self.draining = False

    def open(self) -> None:
        """Connections may come from now on."""
        self._standstill.look(self._clock.monotonic())

    async def admit(self, opening: Opening, consumed_ms: int) -> Session:
        """The session for a connection: a resumed one, or a new one that fan-out finds. Raises `Refused`."""
        principal = await self._verifier.admit(opening.token, self._clock.now_ms())
        if self.draining:
            raise Refused(Code.UNAVAILABLE, "this gateway is being drained", retry_after_ms=1_000)
        self._guard.meet(principal, opening.ip)
        self._standstill.check(self._clock.monotonic())
        session = self._resumable(opening, principal.user_id)
        if session is not None:
            session.principal = principal
            self._note(session, opening)
            self._presence.came_back(session)
            return session
        self._room.check()
        self._guard.admit_session(principal, opening.device_id)
        for old in self._hub.of_device(principal.user_id, opening.device_id):
            old.close(CloseCode.REPLACED)
        session = Session(
            new_name(),
            principal,
            opening.device_id,
            opening.platform,
            opening.codec,
            self._rules,
            self._hub.touched,
            self._clock.monotonic(),
        )
        self._note(session, opening)
        session.progress.announced_ms = consumed_ms
        await self._register(session)
        return session

    def welcome(self, session: Session, link: Link) -> bool:
        """The connection is there. False: the session was replaced in the meantime."""
        if session.state is State.CLOSED:
            return False
        session.link = link
        session.welcome(self._clock.monotonic(), self._clock.now_ms())
        return True

    def gone(self, session: Session, by_client: bool) -> None:
        """The connection of a session is gone."""
        session.cut(self._clock.monotonic(), by_client)
        if session.state is State.CLOSED:
            self.finish(session)

    def finish(self, session: Session) -> None:
        """Forget a session and its route. May be called again."""
        session.end()
        if self._hub.sessions.get(session.id) is session:
            self._hub.remove(session)
            self._presence.detach(session)

    def sweep(self) -> None:
        """Look at the next tenth of the sessions: what ends by time alone ends here."""
        now, now_ms = self._clock.monotonic(), self._clock.now_ms()
        self._standstill.look(now)
        for _ in range(1 + len(self._hub.sessions) // SWEEP_SLICES):
            session = next(self._sweeping, None)
            if session is None:
                self._sweeping = iter(list(self._hub.sessions.values()))
                return
            session.tick(now, now_ms)
            if session.state is State.CLOSED:
                self.finish(session)

    def _note(self, session: Session, opening: Opening) -> None:
        """What this connection of the session is like."""
        session.ip = opening.ip
        session.since_ms = self._clock.now_ms()
        session.heartbeat_s = agree(
            self._rules.heartbeat_s, opening.heartbeat_s, len(self._hub.sessions), session.id
        )

    def _resumable(self, opening: Opening, user_id: str) -> Session | None:
        """The session this client asks for, free to be carried by another connection."""
        session = self._hub.sessions.get(opening.resume) if opening.resume else None
        if (
            session is None
            or session.user_id != user_id
            or session.device_id != opening.device_id
            or session.codec is not opening.codec
            or session.state not in (State.OPEN, State.CUT)
            or session.closing not in (None, CloseCode.HEARTBEAT_LOST)
        ):
            return None
        if session.state is State.OPEN:
            old = session.link
            session.closing = None
            session.cut(self._clock.monotonic(), by_client=False)
            if old is not None:
                old.leave(CloseCode.REPLACED)
        return session

    async def _register(self, session: Session) -> None:
        self._hub.add(session)
        registered = False
        try:
            await self._presence.attach(session)
            registered = True
        except Unavailable as error:
            raise Refused(Code.UNAVAILABLE, retry_after_ms=1_000) from error
        finally:
            if not registered:
                self.finish(session)
