"""The page of the client protocol, sentence by sentence: how one comes in, and comes back."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.acceptance.stranger import Stranger, together
from tests.acceptance.test_end_to_end import direct, fresh
from tests.connecting import connected

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize(
    ("way", "offered", "chosen"),
    [
        ("header", [], None),
        ("header", ["im.v1.json"], "im.v1.json"),
        ("header", ["im.v9.xml", "im.v1.msgpack"], "im.v1.msgpack"),
        ("subprotocol", ["im.v1.json"], "im.v1.json"),
        ("subprotocol", [], None),
        ("query", [], None),
    ],
)
async def test_a_token_opens_the_door_in_three_ways(
    system: Any, way: str, offered: list[str], chosen: str | None
) -> None:
    """The first frame is a whole welcome, as text unless msgpack was offered."""
    token = system.token("ann")
    asked = offered + ([f"bearer.{token}"] if way == "subprotocol" else [])
    async with await connected(
        f"{system.ws_url}?device_id=d{'&token=' + token if way == 'query' else ''}",
        additional_headers={"Authorization": f"Bearer {token}"} if way == "header" else {},
        subprotocols=[Subprotocol(name) for name in asked] or None,
    ) as socket:
        assert socket.subprotocol == chosen
        welcome = await socket.recv()
    assert isinstance(welcome, bytes) is (chosen == "im.v1.msgpack")
    if isinstance(welcome, str):
        frame = json.loads(welcome)
        assert (frame["type"], frame["user_id"], frame["resumed"]) == ("welcome", "ann", False)
        assert {"session_id", "gateway_id", "server_time_ms"} <= frame.keys()
        assert isinstance(frame["heartbeat_s"], int)
        assert frame["limits"].keys() == {"max_frame_bytes", "max_inflight", "sends_per_s", "send_burst"}


@pytest.mark.parametrize(
    ("query", "token", "offered", "status", "said"),
    [
        ("", None, [], 401, "bad_token"),
        ("", "not.a.token", [], 401, "bad_token"),
        ("", "", ["im.v2.json"], 400, "im.v1.msgpack"),
        ("&device_id=a%20b", "", [], 400, "device_id"),
        ("&platform=fridge", "", [], 400, "platform"),
    ],
)
async def test_who_may_not_come_in_is_told_before_the_upgrade(
    system: Any, query: str, token: str | None, offered: list[str], status: int, said: str
) -> None:
    """With a status and the object of `error`; an empty token here stands for a good one."""
    good = system.token("ann") if token == "" else token
    with pytest.raises(InvalidStatus) as refused:
        await connected(
            f"{system.ws_url}?x=1{query}",
            additional_headers={"Authorization": f"Bearer {good}"} if good else {},
            subprotocols=[Subprotocol(name) for name in offered] or None,
        )
    response = refused.value.response
    assert response.status_code == status
    error = json.loads(response.body or b"")
    assert {"code", "name", "message", "temporary"} <= error.keys()
    assert said in error["name"] + error["message"]


async def test_a_cut_session_is_resumed(system: Any) -> None:
    """Same session, n goes on, what was not acked comes again with its old n; a new session begins at 1."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with AsyncExitStack() as entered:
        (a,) = await together(entered, system, ann)
        async with Stranger.on(system, bob) as b:
            for text in ("one", "two"):
                await a.send(talk, text)
            await b.hears(talk, 2)
            before = [frame for frame in b.frames if frame["type"] == "deliver"]
            await b.say("ack", n=1)
            await b.ask("ping")
            session_id = b.welcome["session_id"]
            b.socket.transport.abort()
        await a.send(talk, "three")
        async with Stranger.on(system, bob, session_id=session_id) as b:
            assert (b.welcome["resumed"], b.welcome["session_id"]) == (True, session_id)
            await b.hears(talk, 3)
            again = [frame for frame in b.frames if frame["type"] == "deliver"]
            assert again[: len(before) - 1] == before[1:]
            assert [frame["n"] for frame in again] == list(range(2, 2 + len(again)))
        async with Stranger.on(system, bob, session_id=session_id) as b:
            assert b.welcome["resumed"] is False
            await a.send(talk, "four")
            await b.hears(talk, 4)
            assert [frame["n"] for frame in b.frames if frame["type"] == "deliver"] == [1]


@pytest.mark.parametrize("resumes", [False, True])
async def test_a_device_has_one_connection(system: Any, resumes: bool) -> None:
    """The older one is closed with 4502, also when the newer one takes over its session."""
    user = fresh("ann")
    async with Stranger.on(system, user) as old, Stranger.on(system, user, "other") as other:
        query = {"session_id": old.welcome["session_id"]} if resumes else {}
        async with Stranger.on(system, user, **query) as new:
            assert await old.closed() == 4502
            assert new.welcome["resumed"] is resumes
            assert (await new.ask("ping"))["type"] == (await other.ask("ping"))["type"] == "pong"


async def test_what_is_not_acked_comes_again_only_as_it_was(system: Any) -> None:
    """And an ack may be repeated, or be older than one before."""
    ann, bob = fresh("ann"), fresh("bob")
    async with AsyncExitStack() as entered:
        a, b = await together(entered, system, ann, bob)
        await a.send(direct(ann, bob), "hi")
        n = (await b.sees(type="deliver"))["n"]
        for acked in (n, n, 0):
            await b.say("ack", n=acked)
        await b.say("ack", n=n + 1)
        assert (await b.sees(type="error"))["code"] == 1001
        assert [frame["type"] for frame in b.frames] == ["welcome", "deliver", "error"]
