"""Small makers of gateway values."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import SecretStr

from gateway.auth import Principal
from gateway.session import Session
from gateway.session_rules import SessionRules
from gateway.wire import Delivery, EncodedMessage
from infra.settings import Settings
from schemas.frames import JSON, FrameCodec
from tests.builders import a_message
from tests.gateway.frames import read_frames

__all__ = ["a_delivery", "a_session", "opened", "written"]

FAR_MS = 2**50


def a_session(
    user: str = "alice",
    session_id: str = "s1",
    codec: FrameCodec = JSON,
    role: str = "",
    touched: list[Session] | None = None,
    expires_at_ms: int = FAR_MS,
    **settings: Any,
) -> Session:
    values: dict[str, Any] = {"auth_secret": SecretStr("x" * 40)}
    rules = SessionRules.of(Settings(**(values | settings)))
    principal = Principal(user, role, "", expires_at_ms)
    shared = touched if touched is not None else []
    return Session(session_id, principal, f"{session_id}-device", "web", codec, rules, shared, 0.0)


def opened(session: Session, now: float = 0.0) -> Session:
    """Welcomed, and the welcome taken away."""
    session.welcome(now, 1_000)
    session.outbox.take()
    return session


def a_delivery(seq: int = 1, at: float = 0.0, **fields: Any) -> Delivery:
    return Delivery([EncodedMessage(a_message(seq=seq, **fields))], at)


def written(session: Session) -> list[dict[str, Any]]:
    """The frames the session has put since the last call."""
    decode = msgspec.json.decode if session.codec.text else msgspec.msgpack.decode
    return [decode(bytes(frame.data)) for frame in read_frames(session.outbox.take())]
