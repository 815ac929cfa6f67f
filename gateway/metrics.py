"""The gateway's instruments. Children are bound once: a hot counter costs 0.44 µs, and batches count at once.

No user and no conversation is ever a label.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.limits.metrics import LimitMetrics
from infra.telemetry.histogram import BatchHistogram
from schemas.codes import CloseCode, Code

__all__ = ["DEPENDENCIES", "Metrics"]

DEPENDENCIES = ("kafka", "redis", "cassandra", "pipeline")
"""What a message needs; also the lines of `/readyz`."""


class Metrics:
    """Everything one gateway counts, in a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.limits = LimitMetrics(registry)
        self.connections = Gauge(
            "im_gateway_connections", "WebSocket connections that are open", registry=registry
        )
        self.sessions = Gauge(
            "im_gateway_sessions", "sessions, with those that may be resumed", registry=registry
        )
        self.handshakes = Counter(
            "im_gateway_handshakes", "connection attempts, by HTTP status", ["status"], registry=registry
        )
        self.frames_in = Counter("im_gateway_frames_in", "frames from clients", registry=registry)
        self.sends = Counter("im_gateway_sends", "records given to the log", registry=registry)
        self.accepted = Counter("im_gateway_accepted", "records the log has taken", registry=registry)
        self.publish_s = BatchHistogram(
            "im_gateway_publish_seconds", "until the log has taken a record", registry=registry
        ).labels()
        self.delivery_s = BatchHistogram(
            "im_delivery_seconds",
            "from a message's arrival at a gateway to its write to the socket of somebody else",
            registry=registry,
        ).labels()
        self.uplink_pending = Gauge(
            "im_gateway_uplink_pending", "records that wait for the log", registry=registry
        )
        self.ready = Gauge("im_gateway_ready", "whether /readyz says 200", registry=registry)
        dependency = Gauge(
            "im_dependency_up",
            "whether what a message needs answers",
            ["dependency"],
            registry=registry,
        )
        self.dependencies = {name: dependency.labels(name) for name in DEPENDENCIES}
        self.delivery_frames = Counter("im_gateway_delivery_frames", "deliver frames", registry=registry)
        self.delivered = Counter("im_gateway_delivered_messages", "messages in them", registry=registry)
        self.repeated = Counter(
            "im_gateway_repeated_outbounds", "outbound records dropped as repeats", registry=registry
        )
        self.undecodable = Counter(
            "im_gateway_undecodable_outbounds", "outbound records that fit no schema", registry=registry
        )
        self.dropped_ephemeral = Counter(
            "im_gateway_dropped_ephemeral", "ephemeral frames dropped for slow readers", registry=registry
        )
        self.stale_ephemeral = Counter(
            "im_gateway_stale_ephemeral",
            "ephemeral frames dropped because they waited too long",
            registry=registry,
        )
        self.unexpected = Counter(
            "im_gateway_unexpected_errors", "connections ended by a fault of ours", registry=registry
        )
        refused = Counter(
            "im_gateway_refused_frames", "frames answered by an error, by name", ["code"], registry=registry
        )
        closed = Counter(
            "im_gateway_closed_connections", "connections closed by us, by code", ["code"], registry=registry
        )
        self._refused = {code: refused.labels(code.wire_name) for code in Code}
        self._closed = {code: closed.labels(str(int(code))) for code in CloseCode}

    def refuse(self, code: Code) -> None:
        self._refused[code].inc()

    def close(self, code: CloseCode) -> None:
        self._closed[code].inc()
