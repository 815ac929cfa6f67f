"""Presence on the real path, by somebody who knows the protocol's page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.stranger import Frame, Stranger
from tests.acceptance.test_end_to_end import direct, fresh

pytestmark = pytest.mark.acceptance


def state(frame: Frame) -> Frame:
    return {name: frame[name] for name in ("user_id", "online", "platforms")}


async def test_a_friend_comes_and_goes(system: Any) -> None:
    """`ok` tells how it is, `presence` what changes; nobody else is told, and nothing after `unsubscribe`."""
    ann, bob = fresh("ann"), fresh("bob")
    away = {"user_id": bob, "online": False, "platforms": []}
    async with Stranger.on(system, ann) as a, Stranger.on(system, fresh("eve")) as e:
        ok = await a.ask("presence.subscribe", user_ids=[bob])
        assert [state(one) for one in ok["presence"]] == [away]
        async with Stranger.on(system, bob):
            there = {"user_id": bob, "online": True, "platforms": ["desktop"]}
            assert state(await a.sees(type="presence")) == there
        gone = await a.sees(type="presence")
        assert state(gone) == away
        assert gone["last_seen_ms"] > 0
        assert (await a.ask("presence.unsubscribe", user_ids=[bob]))["type"] == "ok"
        async with Stranger.on(system, bob) as b:
            await b.send(direct(ann, bob), "hi")
            await a.hears(direct(ann, bob), 1)
        assert not [f for f in a.frames if f["type"] == "presence" and f != gone][1:]
        await e.ask("ping")
        assert [f["type"] for f in e.frames] == ["welcome", "pong"]


async def test_who_is_blocked_sees_nobody(system: Any) -> None:
    """The answer is that of a user who is not there."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with Stranger.on(system, ann) as a, Stranger.on(system, bob) as b:
        await b.send(talk, "hi")
        assert (await b.ask("conversation.block", conversation_id=talk))["type"] == "ok"
        await b.stored(talk, 2)
        ok = await a.ask("presence.subscribe", user_ids=[bob])
        assert [one["online"] for one in ok["presence"]] == [False]
