"""What a gateway is made of, between its sessions and its engines: built here, once, in this order."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from gateway.auth import TokenVerifier
from gateway.comings import Comings
from gateway.conversation_view import ConversationView
from gateway.desk import Desk, Services
from gateway.directory import Directory
from gateway.downlink import Downlink
from gateway.handshake import Opening
from gateway.history import HistoryService
from gateway.hub import Hub
from gateway.inbox import InboxReader
from gateway.limits.exchange import Exchange
from gateway.limits.guard import Guard
from gateway.limits.watch import Watch
from gateway.lobby import Lobby
from gateway.metrics import Metrics
from gateway.missed import Missed
from gateway.presence import Presence
from gateway.pulse import Pulse
from gateway.reading import Reading
from gateway.receipts import Receipts
from gateway.revocations import Revocations
from gateway.room import Room
from gateway.session import Link, Session
from gateway.session_rules import SessionRules
from gateway.sync import SyncService
from gateway.typing_notes import TypingNotes
from gateway.uplink import Uplink
from gateway.watching import Watching
from infra.clock import Clock
from infra.ports import Bus, GatewayNotice, HistoryStore, RouteTable, SharedLimits
from infra.settings import Settings
from infra.token_keys import TokenKeys
from schemas.ids import new_name
from schemas.topics import outbound_topic

if TYPE_CHECKING:
    from infra.telemetry.tracing import Tracing

__all__ = ["Parts"]


class Parts:
    """Everything that works on sessions, whatever carries them; no port, no HTTP.

    `startup` fixes the downlink's position before it takes the lease. `work` must run for as long as
    there are sessions. The server puts sockets in front of it, and so does the simulation in `tests/sim`.
    """

    def __init__(
        self,
        settings: Settings,
        bus: Bus,
        routes: RouteTable,
        history: HistoryStore,
        shared: SharedLimits,
        clock: Clock,
        metrics: Metrics,
        tracing: Tracing | None = None,
    ) -> None:
        gateway_id, partitions = settings.gateway_id, settings.partitions
        self.hub = hub = Hub(metrics)
        page_bytes = settings.outbox_bytes // 2
        boot_id = new_name()
        self._clock = clock
        self.guard = guard = Guard(settings, hub, clock, metrics.limits)
        hub.ended = self._ended
        self.uplink = Uplink(
            bus,
            clock,
            metrics,
            settings.publish_timeout_s,
            self.flush,
            settings.backlog_records,
            settings.backlog_bytes,
            tracing,
        )
        self.watch = Watch(guard.admission, lambda: self.uplink.backlog, clock, metrics.limits)
        self._exchange = Exchange(
            shared, routes, guard, clock, metrics.limits, gateway_id, boot_id, self.flush
        )
        topic = outbound_topic(gateway_id).name
        self.downlink = Downlink(bus, topic, hub, clock, metrics, self.flush, tracing)
        self.room = Room(settings, hub, clock)
        self._comings = Comings(bus, routes, clock, gateway_id)
        self.watching = Watching(routes, history, hub, clock, gateway_id, self.flush)
        hub.presence_changed = self.watching.changed
        self.presence = Presence(
            routes,
            bus,
            hub,
            self._comings,
            clock,
            gateway_id,
            boot_id,
            settings.lease_s,
            self._notice,
            self.flush,
        )
        self._pulse = Pulse(routes, self.downlink, clock, partitions, Missed(history), self.flush)
        self.receipts = Receipts(bus, clock)
        inbox = InboxReader(routes, history, clock)
        self.presence.table_lost = inbox.forget_losses
        self.sync = SyncService(routes, inbox, ConversationView(history), clock, partitions, page_bytes)
        self.pages = HistoryService(history, lambda: self._pulse.consumed_ms, page_bytes)
        services = Services(
            self.uplink,
            self._pulse,
            self.receipts,
            self.sync,
            self.pages,
            Directory(history, clock),
            Reading(routes, history, inbox, self.receipts),
            TypingNotes(routes, history, bus, clock),
            self.watching,
            guard,
        )
        self.desk = Desk(services, clock, metrics, self.flush)
        self.revocations = Revocations(bus, hub, clock, settings.token_life_s, self.flush)
        self._keys = TokenKeys(settings, clock)
        self.verifier = TokenVerifier(
            self._keys, self.revocations.before_ms, settings.auth_audience, settings.auth_issuer
        )
        rules = SessionRules.of(settings)
        self.lobby = Lobby(hub, self.presence, self.verifier, rules, clock, metrics, self.room, guard)
        self.is_ready: Callable[[], bool] = lambda: True
        """Whether a message can pass, as this gateway tells the others."""

    async def startup(self) -> None:
        """Open what sessions need. Raises `Unavailable`."""
        await self._keys.startup()
        await self.downlink.startup()
        await self.revocations.startup()
        await self.presence.startup()
        self.lobby.open()

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """What never ends by itself; each is to run as a task, until it is cancelled."""
        return [
            self._keys.run(),
            self.downlink.run(),
            self.revocations.run(),
            self.presence.run(),
            self._pulse.run(),
            self._comings.run(),
            self.watching.run(),
            self.receipts.run(),
            self._exchange.run(),
        ]

    async def shutdown(self) -> None:
        """Close what reads the log. The lease is given up before (`presence`)."""
        await self.downlink.shutdown()
        await self.revocations.shutdown()

    async def admit(self, opening: Opening) -> Session:
        """A session for a connection. Raises `Refused`."""
        return await self.lobby.admit(opening, self._pulse.consumed_ms)

    def welcome(self, session: Session, link: Link) -> bool:
        """The connection is there. False: the session was replaced in the meantime."""
        if not self.lobby.welcome(session, link):
            return False
        self.watching.welcomed(session)
        return True

    def flush(self) -> None:
        """Write out what every touched session has to say: one write for each."""
        touched = self.hub.touched
        while touched:
            batch = touched.copy()
            touched.clear()
            for session in batch:
                if session.link is not None:
                    session.link.write_out()

    def _ended(self, count: int, received_at_ms: int) -> None:
        self.guard.admission.ended(count, self._clock.now_ms() - received_at_ms)

    def _notice(self) -> GatewayNotice:
        self.room.ready = self.is_ready()
        return self.room.notice()
