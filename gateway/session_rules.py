"""The limits that all sessions of a gateway share, out of the settings."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.throttle import Rate, frame_rate, request_rate
from infra.settings import Settings
from schemas.frames import Limits

__all__ = ["SessionRules"]


@dataclass(frozen=True, slots=True)
class SessionRules:
    """The limits every session of a gateway shares."""

    gateway_id: str
    limits: Limits
    heartbeat_s: int
    """The usual one: each session has its own."""
    ack_timeout_s: float
    ack_tries: int
    resume_window_s: float
    outbox_bytes: int
    unacked_bytes: int
    requests: Rate
    frames: Rate

    @classmethod
    def of(cls, settings: Settings) -> SessionRules:
        limits = Limits(
            max_frame_bytes=settings.max_frame_bytes,
            max_inflight=settings.max_inflight,
            sends_per_s=settings.sends_per_s,
            send_burst=settings.send_burst,
        )
        return cls(
            gateway_id=settings.gateway_id,
            limits=limits,
            heartbeat_s=settings.heartbeat_s,
            ack_timeout_s=settings.ack_timeout_s,
            ack_tries=settings.ack_tries,
            resume_window_s=settings.resume_window_s,
            outbox_bytes=settings.outbox_bytes,
            unacked_bytes=4 * settings.outbox_bytes,
            requests=request_rate(settings),
            frames=frame_rate(settings),
        )
