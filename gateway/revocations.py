"""Tokens that are no longer good: followed from a compacted topic, obeyed within a moment everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from gateway.hub import Hub
from infra.clock import Clock
from infra.ports import Bus, Outgoing, Record, Subscription
from schemas.codec import REVOCATION
from schemas.codes import CloseCode
from schemas.errors import Unavailable, Undecodable
from schemas.records import Revocation
from schemas.topics import REVOCATIONS

__all__ = ["Revocations"]

log = structlog.get_logger(__name__)

_POLL_S: Final = 5.0
_RETRY_S: Final = 0.2


class Revocations:
    """`before_ms`: user → the moment before which his tokens were made in vain.

    Everything in force is known before the port opens, so no restart lets an old token in again; the log
    holds it, because Redis may be emptied at any time. A session whose token is revoked is kicked. What is
    older than the longest life of a token is forgotten: at most one entry a user and life is held (0.2 KiB).
    """

    def __init__(self, bus: Bus, hub: Hub, clock: Clock, token_life_s: int, told: Callable[[], None]) -> None:
        self._bus = bus
        self._hub = hub
        self._clock = clock
        self._life_ms = 1_000 * token_life_s
        self._told = told
        self._subscription: Subscription | None = None
        self.before_ms: dict[str, int] = {}

    async def startup(self) -> None:
        """Read what is in force. Raises `Unavailable`."""
        self._subscription = await self._bus.subscribe_end(REVOCATIONS)
        await self._bus.read_range(REVOCATIONS, 0, 0, None, self.take)

    async def run(self) -> None:
        """Follow the topic until cancelled."""
        subscription = self._subscription
        if subscription is None:
            raise Unavailable("revocations are not read yet")
        while True:
            try:
                self.take(await subscription.next_records(_POLL_S))
            except Unavailable as error:
                log.warning("revocations wait", error=str(error))
                await asyncio.sleep(_RETRY_S)

    async def shutdown(self) -> None:
        if self._subscription is not None:
            await self._subscription.close()

    async def revoke(self, user_id: str, by: str) -> None:
        """Refuse the tokens this user has now. In force here on return, elsewhere once they have read it.

        Raises `Unavailable`; then it may come into force all the same.
        """
        revocation = Revocation(user_id, self._clock.now_ms(), by)
        await self._bus.publish([Outgoing(REVOCATIONS, 0, REVOCATION.encode(revocation), user_id.encode())])
        self._put_in_force(revocation)

    def take(self, records: Sequence[Record]) -> None:
        """Put these in force."""
        for record in records:
            try:
                self._put_in_force(REVOCATION.decode(record.value))
            except Undecodable as error:
                log.error("undecodable revocation", offset=record.offset, error=str(error))
        self._forget()
        self._told()

    def _put_in_force(self, revocation: Revocation) -> None:
        user_id = revocation.user_id
        before_ms = max(revocation.before_ms, self.before_ms.pop(user_id, 0))
        self.before_ms[user_id] = before_ms
        for session in self._hub.sessions_of(user_id):
            if session.principal.issued_at_ms < before_ms:
                session.close(CloseCode.KICKED)

    def _forget(self) -> None:
        """Drop what no token can be older than and still be good; the oldest stand first."""
        oldest_ms = self._clock.now_ms() - self._life_ms
        while self.before_ms:
            user_id = next(iter(self.before_ms))
            if self.before_ms[user_id] >= oldest_ms:
                return
            del self.before_ms[user_id]
