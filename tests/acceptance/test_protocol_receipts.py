"""The page of the client protocol, sentence by sentence: cursors, typing and `ping`."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.acceptance.patience import until
from tests.acceptance.stranger import Frame, Stranger, together
from tests.acceptance.test_end_to_end import direct, fresh

pytestmark = pytest.mark.acceptance


async def test_cursors_are_told_to_the_other_and_to_own_devices(system: Any) -> None:
    """Acks move `delivered`, `read` moves `read`; sending moves neither; nothing goes back."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with AsyncExitStack() as entered:
        a, b = await together(entered, system, ann, bob)
        (tablet,) = await together(entered, system, bob, device="tablet")
        for _ in range(3):
            await a.send(talk, "hi")
        await b.hears(talk, 3)
        await b.say("ack", n=max(frame["n"] for frame in b.frames if frame["type"] == "deliver"))
        receipt = await a.sees(type="receipt", user_id=bob, delivered_seq=3)
        assert receipt["conversation_id"] == talk
        await b.say("read", conversation_id=talk, seq=2)
        for other in (a, tablet):
            assert (await other.sees(type="receipt", user_id=bob, read_seq=2))["conversation_id"] == talk
        await b.say("read", conversation_id=talk, seq=1)
        await b.send(talk, "reply")
        await lists(b, talk, {"read_seq": 2, "unread": 1})
        assert (await b.ask("read_all"))["type"] == "ok"
        await a.sees(type="receipt", user_id=bob, read_seq=4)
        await lists(b, talk, {"read_seq": 4, "unread": 0})
        told = [f["read_seq"] for f in a.frames if f["type"] == "receipt" and "read_seq" in f]
        assert told == sorted(told)


async def lists(who: Stranger, conversation_id: str, shown: Frame) -> None:
    """Return once a sync lists the conversation like this: a cursor is told before it can be read."""
    wanted = (shown | {"conversation_id": conversation_id}).items()
    await until(
        lambda: who.ask("sync", token=None),
        lambda page: any(wanted <= row.items() for row in page["conversations"]),
    )


async def test_typing_is_shown_to_the_others(system: Any) -> None:
    """And leaves no trace."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with AsyncExitStack() as entered:
        a, b = await together(entered, system, ann, bob)
        for active in (True, False):
            await a.say("typing", conversation_id=talk, active=active)
            note = await b.sees(type="typing")
            assert note == {"type": "typing", "conversation_id": talk, "user_id": ann, "active": active}


async def test_a_pong_shows_what_changed_and_how_far_the_token_is(system: Any) -> None:
    """`heads` tells a lost tail once; the token is "" before a sync, and waits for acks after it."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with AsyncExitStack() as entered:
        a, b = await together(entered, system, ann, bob)
        assert (await b.ask("ping"))["token"] == ""
        token = (await b.ask("sync", token=None))["token"]
        await a.send(talk, "hi")
        await b.hears(talk, 1)
        await b.stored(talk, 1)
        pong = await until(lambda: b.ask("ping"), lambda pong: pong["heads"])
        assert pong["heads"] == {talk: 1}
        assert isinstance(pong["server_time_ms"], int)
        unacked = (await until(lambda: b.ask("ping"), lambda pong: not pong["heads"]))["token"]
        async with Stranger.on(system, bob, "other") as other:
            assert [m["seq"] for m in (await other.ask("sync", token=unacked))["messages"]] == [1]
        await b.say("ack", n=1)
        await until(lambda: b.ask("ping"), lambda pong: pong["token"] not in (token, unacked))
