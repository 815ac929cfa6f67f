"""What a client says when it connects: read from the upgrade request alone. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, urlsplit

import msgspec
from websockets.datastructures import Headers, MultipleValuesError
from websockets.exceptions import InvalidHeaderFormat
from websockets.headers import parse_subprotocol

from schemas.codes import Code
from schemas.errors import Refused
from schemas.frames import JSON, SUBPROTOCOLS, FrameCodec
from schemas.ids import is_name, new_name

__all__ = ["PLATFORMS", "WEBSOCKET_PATH", "Opening", "bearer_token", "check_origin", "read_opening"]

WEBSOCKET_PATH: Final = "/v1/ws"
PLATFORMS: Final = ("web", "ios", "android", "desktop", "server")
_BEARER: Final = "bearer."
_DIGITS: Final = 6


class Opening(msgspec.Struct, frozen=True):
    """A connect request. `subprotocol`: what the answer names; None if the client offered none of ours."""

    token: str
    device_id: str
    platform: str
    resume: str
    codec: FrameCodec
    subprotocol: str | None
    ip: str = ""
    """Of the client, as limits name it."""
    heartbeat_s: int | None = None
    """What the client would like it to be."""


def read_opening(path: str, headers: Headers) -> Opening:
    """The request of a client. Raises `Refused`; its code says with which HTTP status.

    Without a device_id the connection is a device of its own; without a platform it is `web`; without a
    heartbeat_s it is the gateway's.
    """
    query = {name: values[-1] for name, values in parse_qs(urlsplit(path).query, max_num_fields=32).items()}
    offered = _offered(headers)
    codec, subprotocol = _choose(offered)
    device_id = query.get("device_id") or new_name()
    platform = query.get("platform", "web")
    if not is_name(device_id):
        raise Refused(Code.BAD_FRAME, "device_id must be 1–64 of A–Z a–z 0–9 . _ -")
    if platform not in PLATFORMS:
        raise Refused(Code.BAD_FRAME, f"platform must be one of {', '.join(PLATFORMS)}")
    return Opening(
        _token(headers, offered, query),
        device_id,
        platform,
        query.get("session_id", ""),
        codec,
        subprotocol,
        heartbeat_s=_heartbeat(query.get("heartbeat_s")),
    )


def bearer_token(authorization: str | None) -> str | None:
    """The token in an Authorization header; None when there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def check_origin(origin: str | None, host: str | None, allowed: frozenset[str]) -> None:
    """Browsers name the page they act for: ours, or one that is allowed. Raises `Refused` for another."""
    if origin is None or origin in allowed or (host and urlsplit(origin).netloc == host):
        return
    raise Refused(Code.NOT_ALLOWED, "this origin may not connect; IM_ORIGINS names those that may")


def _offered(headers: Headers) -> list[str]:
    try:
        return [
            name for value in headers.get_all("Sec-WebSocket-Protocol") for name in parse_subprotocol(value)
        ]
    except InvalidHeaderFormat as error:
        raise Refused(Code.BAD_FRAME, "Sec-WebSocket-Protocol cannot be read") from error


def _heartbeat(asked: str | None) -> int | None:
    if asked is None:
        return None
    if not (asked.isascii() and asked.isdigit() and len(asked) <= _DIGITS):
        raise Refused(Code.BAD_FRAME, "heartbeat_s is a number of whole seconds")
    return int(asked)


def _choose(offered: list[str]) -> tuple[FrameCodec, str | None]:
    ours = [name for name in offered if name in SUBPROTOCOLS]
    if ours:
        return SUBPROTOCOLS[ours[0]], ours[0]
    if any(name.startswith("im.") for name in offered):
        raise Refused(Code.BAD_FRAME, f"supported subprotocols: {', '.join(SUBPROTOCOLS)}")
    return JSON, None


def _token(headers: Headers, offered: list[str], query: dict[str, str]) -> str:
    try:
        token = bearer_token(headers.get("Authorization"))
    except MultipleValuesError as error:
        raise Refused(Code.BAD_TOKEN) from error
    if token is not None:
        return token
    for name in offered:
        if name.startswith(_BEARER):
            return name.removeprefix(_BEARER)
    if "token" in query:
        return query["token"]
    raise Refused(Code.BAD_TOKEN)
