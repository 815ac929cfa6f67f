"""Who may come in and who may send: every limit of a gateway, asked in one place.

Nothing here waits: answers come from what this gateway counts itself and what `exchange.py` learnt
from the others. A refused send costs nothing: rates, pairs and quotas are all looked at before any
of them is counted. Only what is *tried* counts towards a suspension in any case.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NoReturn

from gateway.auth import Principal
from gateway.hub import Hub
from gateway.limits.admission import Admission
from gateway.limits.blacklist import Blacklist
from gateway.limits.meters import Meter, Meters
from gateway.limits.metrics import LimitMetrics
from gateway.limits.pace import Pace
from gateway.limits.pressure import Bounds, Pressure
from gateway.limits.priority import Priority, priority_of
from gateway.limits.quotas import TenantQuotas
from gateway.limits.sockets import Sockets
from gateway.session import Session, State
from gateway.throttle import UNLIMITED, Rate, request_rate, send_rate
from infra.clock import Clock
from infra.settings import Settings
from schemas.codes import CloseCode, Code
from schemas.errors import Refused

__all__ = ["Guard"]

DEFAULT_TENANT: Final = "default"
MAX_ID: Final = 131
"""Characters of a direct conversation's id: what is longer is none, and must not be kept."""
_CROWDED_MS: Final = 5_000
_SPARE_SOCKETS: Final = 1_000
"""Sockets beside those of sessions: upgrades under way, HTTP."""


class Guard:
    """All answers are `Refused` or nothing. The role `server` has no rates and no quota."""

    def __init__(self, settings: Settings, hub: Hub, clock: Clock, metrics: LimitMetrics) -> None:
        self.on = settings.limits == "on"
        self._hub = hub
        self._clock = clock
        self._metrics = metrics
        self._user_connections = settings.user_connections
        self.sockets = Sockets(
            settings.max_connections + _SPARE_SOCKETS, settings.ip_connections if self.on else None
        )
        self.blacklist = Blacklist(settings.suspension_s, settings.suspension_max_s)
        self.quotas = TenantQuotas(
            settings.gateway_id, settings.tenant_quota_per_s, settings.quota_of_tenants
        )
        pressure = Pressure(
            Bounds(
                settings.max_memory_mib << 20,
                settings.max_loop_lag_ms / 1000,
                settings.backlog_records,
                settings.backlog_bytes,
            )
        )
        pace = Pace(settings.path_target_ms, clock.monotonic()) if self.on else None
        self.admission = Admission(pressure, pace)
        window_s = settings.suspend_window_s

        def window(count: int) -> Rate:
            return Rate(count / window_s, count)

        ip_sends = Rate(settings.ip_sends_per_s, settings.ip_send_burst)
        ip_connects = Rate(settings.ip_connects_per_s, settings.ip_connect_burst)
        self._users = Meters(send_rate(settings), window(settings.suspend_user_sends))
        self._ips = Meters(ip_sends, window(settings.suspend_ip_sends))
        self._pairs = Meters(Rate(settings.pair_sends_per_s, settings.pair_send_burst))
        self._calls = Meters(request_rate(settings))
        self._user_connects = Meters(UNLIMITED, window(settings.suspend_user_connects))
        self._ip_connects = Meters(ip_connects, window(settings.suspend_ip_connects))

    # Coming in

    def meet(self, principal: Principal, ip: str) -> None:
        """Somebody connects, for a new session or an old one. Raises `Refused`: suspended, or too often."""
        if not self.on or principal.is_server:
            return
        now = self._clock.monotonic()
        user, address = f"user:{principal.user_id}", f"ip:{ip}"
        if self._user_connects.tried(self._user_connects.of(user), now):
            self._suspend(user, "connects", now)
        if self._ip_connects.tried(self._ip_connects.of(address), now):
            self._suspend(address, "connects", now)
        self._check_suspended(principal, ip, now)
        if wait_ms := self._ip_connects.take(address, now):
            self._metrics.refuse_connect("rate")
            raise Refused(Code.RATE_LIMITED, "too many connects", retry_after_ms=wait_ms)

    def admit_session(self, principal: Principal, device_id: str) -> None:
        """A new session begins. Raises `Refused` (OVERLOADED) when there are too many already."""
        if self.admission.refuses_connects:
            self._metrics.refuse_connect("overload")
            raise Refused(Code.OVERLOADED, "this gateway is overloaded", retry_after_ms=_CROWDED_MS)
        if not self.on or principal.is_server:
            return
        others = sum(
            session.state in (State.OPENING, State.OPEN) and session.device_id != device_id
            for session in self._hub.sessions_of(principal.user_id)
        )
        if others >= self._user_connections:
            self._metrics.refuse_connect("user_connections")
            raise Refused(Code.OVERLOADED, "this user has too many connections", retry_after_ms=_CROWDED_MS)

    def enter(self, ip: str) -> bool:
        """A socket was opened from there. False: there are too many; it is not counted."""
        reason = self.sockets.enter(ip)
        if reason is not None:
            self._metrics.refuse_connect(reason)
        return reason is None

    def admit_call(self, principal: Principal, ip: str) -> None:
        """A request over HTTP. Raises `Refused`: suspended, or too often."""
        if not self.on or principal.is_server:
            return
        now = self._clock.monotonic()
        self._check_suspended(principal, ip, now)
        if wait_ms := self._calls.take(principal.user_id, now):
            self._metrics.refuse_connect("rate")
            raise Refused(Code.RATE_LIMITED, retry_after_ms=wait_ms)

    # Sending

    def admit_send(
        self, principal: Principal, ip: str, conversation_id: str = "", priority: Priority | None = None
    ) -> None:
        """Count a send into this conversation; without one, a change of a group. Raises `Refused`.

        The conversation decides the priority unless one is given.
        """
        now = self._clock.monotonic()
        if priority is None:
            priority = priority_of(conversation_id) if conversation_id else Priority.CONTROL
        if self.on and not principal.is_server:
            self._admit(principal, ip, conversation_id, priority, now)
        elif wait_ms := self.admission.take(priority, now):
            self._refuse_send(Code.OVERLOADED, "overload", wait_ms)

    def _admit(
        self, principal: Principal, ip: str, conversation_id: str, priority: Priority, now: float
    ) -> None:
        users, ips, user_id = self._users, self._ips, principal.user_id
        user, address = users.of(user_id), ips.of(ip)
        if users.tried(user, now):
            self._suspend(f"user:{user_id}", "sends", now)
        if ips.tried(address, now):
            self._suspend(f"ip:{ip}", "sends", now)
        if self.blacklist.held:
            self._check_sender(user_id, ip, now)
        if wait_ms := users.wait_ms(user, now):
            self._refuse_send(Code.RATE_LIMITED, "user", wait_ms)
        if wait_ms := ips.wait_ms(address, now):
            self._refuse_send(Code.RATE_LIMITED, "ip", wait_ms)
        pair = self._pair(user_id, conversation_id, now) if priority is Priority.DIRECT else None
        tenant = (principal.tenant or DEFAULT_TENANT) if self.quotas.in_force else None
        if tenant is not None and (wait_ms := self.quotas.wait_ms(tenant, priority, now)):
            self._refuse_send(Code.RATE_LIMITED, "quota", wait_ms)
        if wait_ms := self.admission.take(priority, now):
            self._refuse_send(Code.OVERLOADED, "overload", wait_ms)
        if tenant is not None and self.quotas.count(tenant):
            self._metrics.quota_sends.inc()
        users.count(user, now)
        ips.count(address, now)
        if pair is not None:
            self._pairs.count(pair, now)

    def _pair(self, user_id: str, conversation_id: str, now: float) -> Meter:
        """The meter of a user and whom he writes to, which has room."""
        pair = self._pairs.of(f"{user_id} {conversation_id[:MAX_ID]}")
        if wait_ms := self._pairs.wait_ms(pair, now):
            self._refuse_send(Code.RATE_LIMITED, "pair", wait_ms)
        return pair

    # Suspensions

    def expel(self, subjects: Iterable[str]) -> None:
        """Close the sockets of those who are suspended now."""
        for subject in subjects:
            for session in self._sessions_of(subject):
                session.close(CloseCode.SUSPENDED)

    def _sessions_of(self, subject: str) -> list[Session]:
        kind, _, name = subject.partition(":")
        if kind == "user":
            sessions: Iterable[Session] = self._hub.sessions_of(name)
        else:
            sessions = (session for session in self._hub.sessions.values() if session.ip == name)
        return [session for session in sessions if not session.principal.is_server]

    def _suspend(self, subject: str, reason: str, now: float) -> None:
        if self.blacklist.suspend(subject, reason, now):
            self._metrics.suspensions.labels(reason).inc()
            self.expel([subject])

    def _is_suspended(self, user_id: str, ip: str, now: float) -> int:
        """For how many ms yet; an attempt while it lasts may make it longer."""
        attempt = self.blacklist.attempt
        return max(attempt(f"user:{user_id}", now), attempt(f"ip:{ip}", now))

    def _check_suspended(self, principal: Principal, ip: str, now: float) -> None:
        if left_ms := self._is_suspended(principal.user_id, ip, now):
            self._metrics.refuse_connect("suspended")
            raise Refused(Code.SUSPENDED, retry_after_ms=left_ms)

    def _check_sender(self, user_id: str, ip: str, now: float) -> None:
        if left_ms := self._is_suspended(user_id, ip, now):
            self._refuse_send(Code.SUSPENDED, "suspended", left_ms)

    def _refuse_send(self, code: Code, reason: str, wait_ms: int) -> NoReturn:
        self._metrics.refuse_send(reason)
        raise Refused(code, retry_after_ms=wait_ms)
