"""The page of the client protocol, sentence by sentence: what does not fit, and how it is answered."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.acceptance.stranger import Frame, Stranger
from tests.acceptance.test_end_to_end import fresh

pytestmark = pytest.mark.acceptance

TEXT = {"kind": "text", "content": {"text": "hi"}}
SEND = {"type": "send", "client_msg_id": "m", "conversation_id": "d:ann:bob", **TEXT}


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("no json", 1001),
        ("[]", 1001),
        ("{}", 1001),
        (b'{"type":"ping"}', 1001),
        ({"type": "dance"}, 1003),
        ({"type": "welcome"}, 1003),
        ({"type": "ack"}, 1001),
        ({"type": "ack", "n": -1}, 1001),
        ({"type": "ack", "n": 1}, 1001),
        ({"type": "ack", "n": "0"}, 1001),
        ({"type": "sync"}, 1001),
        ({"type": "sync", "token": None, "limit": 101}, 1001),
        ({"type": "sync", "token": None, "limit": 0}, 1001),
        ({"type": "history", "conversation_id": "g:x", "limit": 201}, 1001),
        ({"type": "history", "conversation_id": "d:zoe:ann"}, 1001),
        ({"type": "history", "conversation_id": "d:bob:zoe"}, 1103),
        ({"type": "history", "conversation_id": "g:never-made"}, 1103),
        ({"type": "history", "conversation_id": "c:never-made"}, 1103),
        ({"type": "read", "conversation_id": "g:never-made", "seq": 1}, 1103),
        ({"type": "read", "conversation_id": "d:ann:bob", "seq": -1}, 1001),
        ({"type": "group.info", "conversation_id": "g:never-made"}, 1103),
        ({"type": "group.members", "conversation_id": "d:ann:bob"}, 1001),
        ({"type": "group.create", "name": "", "members": []}, 1001),
        ({"type": "group.create", "name": "x", "members": ["no name"]}, 1001),
        ({"type": "group.create", "name": "x", "members": ["bob\n"]}, 1001),
        ({"type": "group.create", "name": "x", "members": [], "group_id": "g\n"}, 1001),
        ({"type": "group.add", "conversation_id": "g:never-made", "members": ["bob"]}, 1103),
        ({"type": "group.add", "conversation_id": "g:x", "members": ["u"] * 1_001}, 1001),
        ({"type": "group.leave", "conversation_id": "d:ann:bob"}, 1001),
        ({"type": "group.rename", "conversation_id": "g:never-made", "name": "x"}, 1103),
        ({"type": "conversation.block", "conversation_id": "g:never-made"}, 1001),
        ({"type": "conversation.mute", "conversation_id": "g:never-made"}, 1103),
        ({**SEND, "client_msg_id": ""}, 1001),
        ({**SEND, "client_msg_id": "with space"}, 1001),
        ({**SEND, "client_msg_id": "m\n"}, 1001),
        ({**SEND, "client_msg_id": "m" * 65}, 1001),
    ],
    ids=str,
)
async def test_a_frame_that_does_not_fit_is_answered_and_the_connection_stays(
    system: Any, frame: Any, code: int
) -> None:
    """By `error` with the request's id; who has a readable client_msg_id is answered by `rejected`."""
    async with Stranger.on(system, "ann", fresh("device")) as ann:
        asked = {**frame, "id": "x"} if isinstance(frame, dict) else frame
        await ann.say_raw(json.dumps(asked) if isinstance(asked, dict) else asked)
        error = await ann.sees(type="error")
        assert error["code"] == code
        assert error.get("re") == ("x" if isinstance(frame, dict) else None)
        assert error["temporary"] is False
        assert {"name", "message"} <= error.keys()
        assert (await ann.ask("ping"))["type"] == "pong"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"conversation_id": "d:bob:ann"}, 1001),
        ({"conversation_id": "d:ann:ann"}, 1001),
        ({"conversation_id": "x:ann"}, 1001),
        ({"conversation_id": "g:a:b"}, 1001),
        ({"conversation_id": "g:a\n"}, 1001),
        ({"conversation_id": "d:bob:zoe"}, 1103),
        ({"conversation_id": "g:never-made"}, 1103),
        ({"conversation_id": "c:never-made"}, 1103),
        ({"kind": "recall"}, 1001),
        ({"kind": "system"}, 1001),
        ({"content": {"text": ""}}, 1001),
        ({"content": {"text": 5}}, 1001),
        ({"content": "hi"}, 1001),
        ({"content": {"text": "x" * 16_385}}, 1001),
        ({"content": {"text": "é" * 8_193}}, 1001),
        ({"kind": "image", "content": {"size_bytes": 1}}, 1001),
        ({"kind": "image", "content": {"url": "https://x.example/i.png"}}, 1001),
        ({"mentions": ["no name"]}, 1001),
        ({"mentions": ["bob\n"]}, 1001),
        ({"quote": {}}, 1001),
        ({"kind": "custom", "content": {"x": "y" * 66_000}}, 1002),
        ({"type": "recall", "seq": 0}, 1001),
        ({"type": "recall", "seq": 1_000_000}, 1102),
        ({"type": "edit", "seq": 1}, 1001),
        ({"type": "edit", "seq": 1, "content": {}}, 1001),
        ({"type": "react", "seq": 1, "emoji": "", "add": True}, 1001),
        ({"type": "react", "seq": 1, "emoji": "+"}, 1001),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_a_refused_send_is_answered_by_rejected(system: Any, fields: Frame, code: int) -> None:
    """Whenever its client_msg_id can be read, with the code that tells why."""
    async with Stranger.on(system, "ann", fresh("device")) as ann:
        frame: Frame = SEND | {"client_msg_id": fresh("m"), "id": 7} | fields
        if frame["type"] != "send":
            frame = {"conversation_id": "d:ann:bob"} | {k: frame[k] for k in ("client_msg_id", "id")} | fields
        await ann.say_raw(json.dumps(frame))
        rejected = await ann.ends(re=7)
        assert (rejected["type"], rejected["code"], rejected["temporary"]) == ("rejected", code, False)
        assert rejected["client_msg_id"] == frame["client_msg_id"]
        assert rejected["conversation_id"] == frame["conversation_id"]
        assert {"name", "message"} <= rejected.keys()


async def test_a_repeated_offender_is_closed(system: Any) -> None:
    """With 4503."""
    async with Stranger.on(system, "ann", fresh("device")) as ann:
        with suppress(ConnectionClosed):  # the end may come before the last of them
            for _ in range(40):
                await ann.say_raw("nonsense")
        assert await ann.closed() == 4503


async def test_answers_carry_the_id_in_its_own_type(system: Any) -> None:
    """In every reply of the request."""
    async with Stranger.on(system, fresh("ann")) as ann:
        ids: list[Any] = [0, -1, 2**53, "", "1", "é"]
        for request_id in ids:
            await ann.say("ping", id=request_id)
            pong = await ann.sees(type="pong")
            assert pong["re"] == request_id
            assert type(pong["re"]) is type(request_id)
        await ann.say("ping")
        assert "re" not in await ann.sees(type="pong")
