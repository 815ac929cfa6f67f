"""This gateway's place in the route table: its lease, and a route for each of its sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from gateway.comings import Comings
from gateway.hub import Hub
from gateway.orders import order_record
from gateway.session import Session, State
from infra.clock import Clock
from infra.ports import Attached, Bus, GatewayNotice, Outgoing, Route, RouteTable
from infra.tries import in_a_few_tries
from schemas.codes import CloseCode
from schemas.errors import OutcomeUnknown, Unavailable
from schemas.orders import CloseOrder

__all__ = ["Presence"]

log = structlog.get_logger(__name__)

_BATCH: Final = 500
_RETRY_S: Final = 0.2
_SKEW_MS: Final = 2_000
"""How far the clocks of two gateways may be apart: who goes from one to the other is newer all the same."""
_MOST_ORDERS: Final = 10_000
"""Orders that may wait for the log; the oldest are kept. A connection that is not closed by one is closed by
its next silence."""


class Presence:
    """Registers sessions in batches: what asks in one loop turn, or while a call is out, goes in one call.

    Promise: when `attach` returns, fan-out finds the session. Removal is fenced by the session id,
    so a late one harms nobody. When the lease or the whole table was lost, every route is attached
    again. Limits: `_BATCH` routes a call.
    """

    def __init__(
        self,
        routes: RouteTable,
        bus: Bus,
        hub: Hub,
        comings: Comings,
        clock: Clock,
        gateway_id: str,
        boot_id: str,
        lease_s: float,
        notice: Callable[[], GatewayNotice],
        told: Callable[[], None],
    ) -> None:
        self._routes = routes
        self._bus = bus
        self._hub = hub
        self._comings = comings
        self._clock = clock
        self._gateway_id = gateway_id
        self._boot_id = boot_id
        self._lease_s = lease_s
        self._notice = notice
        self._told = told
        self.table_lost: Callable[[], None] = lambda: None
        """Called when the table was found empty."""
        self._renewing = asyncio.Lock()
        self._held_until = -1.0
        self._complete = True
        """Whether every route of this gateway is in the table, as far as is known."""
        self._arriving: list[tuple[Session, asyncio.Future[None]]] = []
        self._returning: list[Session] = []
        self._leaving: list[Session] = []
        self._orders: list[Outgoing] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def lease_held(self) -> bool:
        return self._clock.monotonic() < self._held_until

    async def startup(self) -> None:
        """Take the lease, in a few tries. Comes after the downlink's position is fixed."""
        await in_a_few_tries(self._take)

    async def run(self) -> None:
        """Renew the lease until cancelled; attach everything again whenever it was lost."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                await self._renew()
                if not self._complete:
                    self._note_loss()
                    await self._attach_all()
                    self._complete = True
            except Unavailable as error:
                log.warning("lease not renewed", error=str(error))

    async def announce(self) -> None:
        """Renew the lease now, because what is said with it has changed. Raises `Unavailable`."""
        await self._renew()

    async def attach(self, session: Session) -> None:
        """Register a session, which the hub must hold already. Raises `Unavailable`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arriving.append((session, done))
        self._ensure("attach", self._attach_arriving)
        await done

    def came_back(self, session: Session) -> None:
        """Put the route of a resumed session again, soon: its device may have been elsewhere meanwhile, and
        that session takes the route away when it ends. A table that is away is no reason to wait.
        """
        self._returning.append(session)
        self._ensure("return", self._attach_returning)

    def detach(self, session: Session) -> None:
        """Remove a session's route, soon."""
        self._leaving.append(session)
        self._ensure("detach", self._detach_leaving)

    async def shutdown(self) -> None:
        """Give the lease up: every route of this gateway is void at once."""
        for task in list(self._tasks.values()):
            task.cancel()
        if self._held_until > 0:
            self._held_until = -1.0
            await self._routes.drop_lease(self._gateway_id, self._boot_id)
            for session in self._hub.sessions.values():
                self._comings.went(session)
            await self._comings.flush()

    def _ensure(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have this work running: it goes on while there is something to do."""
        if name not in self._tasks:
            self._tasks[name] = asyncio.create_task(self._until_done(name, work()))

    async def _until_done(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            del self._tasks[name]

    async def _renew(self) -> None:
        """Keep the lease, or take it again. Without it leaves pass this gateway by, with it messages come:
        so between the two nobody is a reader any more."""
        async with self._renewing:
            asked_at = self._clock.monotonic()
            if await self._routes.renew_lease(self._gateway_id, self._boot_id, self._lease_s, self._notice()):
                self._held_until = asked_at + self._lease_s
                return
            self._complete = False
            self._hub.readers.clear()
            await self._take()

    async def _take(self) -> None:
        asked_at = self._clock.monotonic()
        await self._routes.take_lease(self._gateway_id, self._boot_id, self._lease_s, self._notice())
        self._held_until = asked_at + self._lease_s

    async def _attach_arriving(self) -> None:
        while self._arriving:
            batch, self._arriving = self._arriving[:_BATCH], self._arriving[_BATCH:]
            try:
                await self._attach([session for session, _ in batch])
                for session, _ in batch:
                    self._comings.came(session)
            except Unavailable as error:
                for _, done in batch:
                    if not done.done():
                        done.set_exception(Unavailable(str(error)))
            finally:
                for _, done in batch:
                    if not done.done():
                        done.set_result(None)

    async def _attach_returning(self) -> None:
        while self._returning:
            batch, self._returning = self._returning[:_BATCH], self._returning[_BATCH:]
            try:
                answers = await self._attach(batch)
            except Unavailable as error:
                log.warning("routes not attached yet", routes=len(batch), error=str(error))
                self._complete = False
                continue
            now_ms = self._clock.now_ms()
            for session, attached in zip(batch, answers, strict=True):
                if attached.replaced is None or attached.replaced.session_id != session.id:
                    session.progress.lost_at_ms = now_ms

    def _note_loss(self) -> None:
        """What the table knew of the sessions here is gone: their next pongs look into the history."""
        now_ms = self._clock.now_ms()
        for session in self._hub.sessions.values():
            session.progress.lost_at_ms = now_ms
        self.table_lost()

    async def _attach_all(self) -> None:
        newest = {(s.user_id, s.device_id): s for s in self._hub.sessions.values()}
        sessions = list(newest.values())
        for start in range(0, len(sessions), _BATCH):
            batch = [s for s in sessions[start : start + _BATCH] if s.state is not State.CLOSED]
            await self._attach(batch, again=True)
        await self._routes.add_reader(self._hub.readers.conversations(), self._gateway_id)
        await self._routes.watch(self._hub.watchers.users(), self._gateway_id)
        log.info("routes attached again", sessions=len(sessions))

    async def _attach(self, sessions: list[Session], again: bool = False) -> list[Attached]:
        """Routes give way to newer ones: their devices went elsewhere since. That is expected of those that
        are attached `again`; of others when this gateway stood still between their welcome and this call."""
        with self._hub.readers.departures() as left:
            given = answers = await self._routes.attach([(s.user_id, self._route(s)) for s in sessions])
        large: list[str] = []
        for session, attached in zip(sessions, answers, strict=True):
            if session.id in self._hub.sessions:
                user_id = session.user_id
                large += [
                    conversation_id
                    for conversation_id, seq in attached.large.items()
                    if not left.overtook(conversation_id, user_id, seq)
                    and self._hub.add_readers(conversation_id, (user_id,), seq)
                ]
            else:  # it ended while the call was out, and its removal may have come first
                self.detach(session)
        if large:
            await self._routes.add_reader(large, self._gateway_id)
        sessions, answers = await self._give_way(sessions, answers, 0 if again else _SKEW_MS)
        self._replace(sessions, answers)
        return given

    async def _give_way(
        self, sessions: list[Session], answers: list[Attached], margin_ms: int
    ) -> tuple[list[Session], list[Attached]]:
        """Put back the newer routes that were replaced, and close what took their place; the rest stands."""
        newer: list[tuple[str, Route]] = []
        standing: list[tuple[Session, Attached]] = []
        for session, attached in zip(sessions, answers, strict=True):
            old = attached.replaced
            if old is None or old.since_ms <= session.since_ms + margin_ms:
                standing.append((session, attached))
                continue
            newer.append((session.user_id, old))
            session.close(CloseCode.REPLACED)
        if newer:
            await self._routes.attach(newer)
        return [session for session, _ in standing], [attached for _, attached in standing]

    def _replace(self, sessions: list[Session], answers: list[Attached]) -> None:
        """A device has one connection, a user a bounded number: the older one is closed, wherever it is."""
        for session, attached in zip(sessions, answers, strict=True):
            old = attached.replaced
            if old is None or old.session_id == session.id:
                continue
            if old.gateway_id != self._gateway_id:
                order = CloseOrder.of(CloseCode.REPLACED, since_ms=old.since_ms)
                self._orders.append(order_record(old.gateway_id, order, [session.user_id], old.session_id))
            elif (here := self._hub.sessions.get(old.session_id)) is not None:
                here.close(CloseCode.REPLACED)
        self._told()
        if self._orders:
            self._ensure("orders", self._send_orders)

    async def _send_orders(self) -> None:
        """Nobody who comes in waits for these: the log may be away, and what they close is no more in use."""
        while self._orders:
            batch, self._orders = self._orders[:_BATCH], self._orders[_BATCH:]
            try:
                live = await self._routes.live_gateways()
                await self._bus.publish([o for o in batch if o.topic.removeprefix("im.outbound.") in live])
            except (Unavailable, OutcomeUnknown) as error:
                log.warning("orders not sent yet", orders=len(batch), error=str(error))
                self._orders = [*batch, *self._orders][:_MOST_ORDERS]
                await asyncio.sleep(_RETRY_S)

    async def _detach_leaving(self) -> None:
        while self._leaving:
            batch, self._leaving = self._leaving[:_BATCH], self._leaving[_BATCH:]
            try:
                await self._routes.detach([(s.user_id, self._route(s)) for s in batch])
            except Unavailable as error:
                log.warning("routes not removed yet", routes=len(batch), error=str(error))
                self._leaving = batch + self._leaving
                await asyncio.sleep(_RETRY_S)
            else:
                for session in batch:
                    self._comings.went(session)

    def _route(self, session: Session) -> Route:
        return Route(
            session.device_id,
            self._gateway_id,
            self._boot_id,
            session.id,
            session.platform,
            session.since_ms,
        )
