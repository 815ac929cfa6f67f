"""The instruments of the limits. No user, ip or tenant is ever a label."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["CONNECT_REASONS", "SEND_REASONS", "LimitMetrics"]

SEND_REASONS: Final = ("user", "ip", "pair", "quota", "overload", "suspended")
CONNECT_REASONS: Final = (
    "suspended",
    "rate",
    "user_connections",
    "ip_connections",
    "gateway_full",
    "overload",
)


class LimitMetrics:
    """What was refused and why, and how things stand."""

    def __init__(self, registry: CollectorRegistry) -> None:
        sends = Counter(
            "im_gateway_refused_sends", "sends refused before they were taken", ["reason"], registry=registry
        )
        connects = Counter(
            "im_gateway_refused_connects", "connects and calls refused", ["reason"], registry=registry
        )
        self._sends = {reason: sends.labels(reason) for reason in SEND_REASONS}
        self._connects = {reason: connects.labels(reason) for reason in CONNECT_REASONS}
        self.suspensions = Counter(
            "im_gateway_suspensions", "suspensions that began here, by cause", ["reason"], registry=registry
        )
        self.suspended = Gauge("im_gateway_suspended", "users and ips that are suspended", registry=registry)
        self.sockets = Gauge("im_gateway_sockets", "sockets, also those without a session", registry=registry)
        self.level = Gauge(
            "im_gateway_pressure_level",
            "what is refused: 0 nothing, 1 connects, 2 broadcasts, 3 channels, 4 groups, 5 direct, 6 all",
            registry=registry,
        )
        self.pace_per_s = Gauge(
            "im_gateway_pace_per_second", "sends let in while they are paced, 0: all", registry=registry
        )
        self.path_s = Gauge(
            "im_gateway_path_delay_seconds", "least time of a send to its place, lately", registry=registry
        )
        self.quota_share_per_s = Gauge(
            "im_gateway_quota_share_per_second",
            "this gateway's part of all tenants' quotas",
            registry=registry,
        )
        self.quota_sends = Counter(
            "im_gateway_quota_sends", "sends that counted against a quota", registry=registry
        )
        self.alone = Gauge(
            "im_gateway_limits_alone", "1 while the limits of other gateways are not known", registry=registry
        )

    def refuse_send(self, reason: str) -> None:
        self._sends[reason].inc()

    def refuse_connect(self, reason: str) -> None:
        self._connects[reason].inc()
