"""What a client says when it connects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers

from gateway.handshake import bearer_token, check_origin, read_opening
from schemas.errors import Refused
from schemas.frames import JSON, MSGPACK

AUTH = ("Authorization", "Bearer T")


def test_everything_is_read_from_the_request() -> None:
    """Device, platform, session, codec and token."""
    headers = Headers([AUTH, ("Sec-WebSocket-Protocol", "x, im.v1.msgpack")])
    opening = read_opening("/v1/ws?device_id=phone&platform=ios&session_id=S", headers)
    assert (opening.device_id, opening.platform, opening.resume) == ("phone", "ios", "S")
    assert (opening.token, opening.codec, opening.subprotocol) == ("T", MSGPACK, "im.v1.msgpack")


def test_a_heartbeat_that_is_asked_for_is_whole_seconds() -> None:
    """None asked for: the gateway's own."""
    assert read_opening("/v1/ws", Headers([AUTH])).heartbeat_s is None
    assert read_opening("/v1/ws?heartbeat_s=120", Headers([AUTH])).heartbeat_s == 120
    for asked in ("-1", "1.5", "soon", "1" * 7, "%D9%A3"):
        with pytest.raises(Refused, match="whole seconds"):
            read_opening(f"/v1/ws?heartbeat_s={asked}", Headers([AUTH]))


def test_the_first_subprotocol_that_is_known_is_taken() -> None:
    """JSON when none is offered; then none is named in the answer."""
    both = Headers([AUTH, ("Sec-WebSocket-Protocol", "im.v2.json, im.v1.json, im.v1.msgpack")])
    assert read_opening("/v1/ws", both).codec is JSON
    none = read_opening("/v1/ws", Headers([AUTH]))
    assert (none.codec, none.subprotocol) == (JSON, None)


def test_the_header_goes_before_subprotocol_and_query() -> None:
    """One token counts."""
    headers = Headers([AUTH, ("Sec-WebSocket-Protocol", "bearer.P")])
    assert read_opening("/v1/ws?token=Q", headers).token == "T"
    assert read_opening("/v1/ws?token=Q", Headers([("Sec-WebSocket-Protocol", "bearer.P")])).token == "P"
    assert read_opening("/v1/ws?token=Q", Headers()).token == "Q"


def test_without_a_device_id_a_connection_is_its_own_device() -> None:
    """Two of them do not replace each other."""
    assert (
        read_opening("/v1/ws", Headers([AUTH])).device_id != read_opening("/v1/ws", Headers([AUTH])).device_id
    )


@pytest.mark.parametrize("value", ["Bearer", "Basic T", "", None])
def test_only_a_bearer_header_holds_a_token(value: str | None) -> None:
    """Anything else is none, or an empty one, which no verifier takes."""
    assert not bearer_token(value)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://here:8080", True),
        ("https://friend.example", True),
        ("http://evil.example", False),
        ("http://here", False),
        ("null", False),
        ("http://here:8080.evil.example", False),
    ],
)
def test_origins(origin: str | None, allowed: bool) -> None:
    """Our own page, those that are listed, and programs that name none."""
    try:
        check_origin(origin, "here:8080", frozenset({"https://friend.example"}))
        passed = True
    except Refused:
        passed = False
    assert passed is allowed


@given(st.text(max_size=80), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_no_request_does_more_than_be_refused(query: str, protocols: str) -> None:
    """Whatever stands in query and header."""
    try:
        read_opening("/v1/ws?" + query, Headers([AUTH, ("Sec-WebSocket-Protocol", protocols)]))
    except Refused:
        return
