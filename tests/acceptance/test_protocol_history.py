"""The page of the client protocol, sentence by sentence: `sync` and `history`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.acceptance.patience import PATIENCE_S
from tests.acceptance.stranger import Frame, Stranger, together
from tests.acceptance.test_end_to_end import direct, fresh

pytestmark = pytest.mark.acceptance

TEXT = {"kind": "text", "content": {"text": "hi"}}


async def test_sync_brings_the_list_and_then_what_is_new(system: Any) -> None:
    """null: newest conversation first, each with its newest messages; a token: what came since."""
    ann, bob, cy = fresh("ann"), fresh("bob"), fresh("cy")
    older, newer = direct(ann, bob), direct(ann, cy)
    async with AsyncExitStack() as entered:
        a, b, c = await together(entered, system, ann, bob, cy)
        for number in range(25):
            await b.send(older, f"{number}", mentions=[ann] if number == 3 else [])
        await c.send(newer, "hello")
        await a.stored(older, 25)
        await a.stored(newer, 1)
        page = await a.ask("sync", token=None)
        assert (page["type"], page["more"], page["reset"]) == ("page", False, False)
        assert [row["conversation_id"] for row in page["conversations"]] == [newer, older]
        assert [(m["conversation_id"], m["seq"]) for m in page["messages"]] == [
            (newer, 1),
            *((older, seq) for seq in range(6, 26)),
        ]
        row = page["conversations"][1]
        assert row["last_message"] == page["messages"][-1]
        assert {name: row[name] for name in ("kind", "head", "read_seq", "unread", "mentioned", "muted")} == {
            "kind": "direct",
            "head": 25,
            "read_seq": 0,
            "unread": 25,
            "mentioned": True,
            "muted": False,
        }
        few = await a.ask("sync", token=None, limit=2)
        assert [m["seq"] for m in few["messages"]] == [1, 24, 25]

        token = await caught_up(a, page["token"])
        assert (await a.ask("sync", token=token))["messages"] == []
        for number in range(30):
            await b.send(older, f"new {number}")
        await a.stored(older, 55)
        since = await caught_up(a, token, 30)
        assert [m["seq"] for m in a.frames[-1]["messages"]] == list(range(26, 56))
        assert [row["head"] for row in a.frames[-1]["conversations"]] == [55]
        await caught_up(a, since)


async def caught_up(who: Stranger, token: str, messages: int = 0) -> str:
    """The token of the first sync that can read this many messages, or has nothing any more."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            page = await who.ask("sync", token=token)
            if len(page["messages"]) == messages:
                return str(page["token"])
            token = token if messages else page["token"]
            await asyncio.sleep(0.1)


async def test_a_long_sync_comes_in_pages(system: Any) -> None:
    """One request per page while `more`; together they are everything once, and the last token stands."""
    ann = fresh("ann")
    others = [fresh("o") for _ in range(25)]
    async with AsyncExitStack() as entered:
        (a,) = await together(entered, system, ann)
        for other in others:
            await a.send(direct(ann, other), "hi")
        for other in others:
            await a.stored(direct(ann, other), 1)
        pages = [await a.ask("sync", token=None)]
        while pages[-1]["more"]:
            pages.append(await a.ask("sync", token=pages[-1]["token"]))
        assert len(pages) > 1
        listed = [row["conversation_id"] for page in pages for row in page["conversations"]]
        assert listed == [direct(ann, other) for other in reversed(others)]
        assert sorted(m["conversation_id"] for page in pages for m in page["messages"]) == sorted(listed)


async def test_much_that_is_new_leaves_a_hole_for_history(system: Any) -> None:
    """More than 1,000 messages since the token: only the newest `limit` come."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with Stranger.on(system, bob) as b:
        token = (await b.ask("sync", token=None))["token"]
    async with Stranger.on(system, ann) as a:  # meanwhile bob is away: his unacked deliveries are bounded
        for start in range(0, 1_200, 400):
            for number in range(start, start + 400):
                await a.say("send", client_msg_id=f"m{number}", conversation_id=talk, **TEXT)
            await a.sees(type="sent", client_msg_id=f"m{start + 399}")
        await a.stored(talk, 1_200)
    async with Stranger.on(system, bob) as b:
        page = await b.ask("sync", token=token, limit=3)
        assert [m["seq"] for m in page["messages"]] == [1_198, 1_199, 1_200]
        assert (page["more"], page["conversations"][0]["head"]) == (False, 1_200)


async def test_a_token_that_is_none_of_ours_begins_anew(system: Any) -> None:
    """With `reset`, and the whole state."""
    ann = fresh("ann")
    talk = direct(ann, fresh("bob"))
    async with Stranger.on(system, ann) as a:
        await a.send(talk, "hi")
        await a.stored(talk, 1)
        page = await a.ask("sync", token="what is this")
        assert (page["type"], page["reset"], len(page["messages"])) == ("page", True, 1)


async def test_history_goes_both_ways(system: Any) -> None:
    """Newest first before a seq, oldest first after one, the newest without either."""
    ann = fresh("ann")
    talk = direct(ann, fresh("bob"))
    async with Stranger.on(system, ann) as a:
        for _ in range(55):
            await a.send(talk, "x")
        await a.stored(talk, 55)
        asks: list[tuple[Frame, range, bool]] = [
            ({}, range(55, 5, -1), True),
            ({"limit": 200}, range(55, 0, -1), False),
            ({"before_seq": 11, "limit": 5}, range(10, 5, -1), True),
            ({"before_seq": 6, "limit": 5}, range(5, 0, -1), False),
            ({"before_seq": 1}, range(0), False),
            ({"before_seq": 1_000, "limit": 1}, range(55, 54, -1), True),
            ({"after_seq": 0, "limit": 3}, range(1, 4), True),
            ({"after_seq": 52, "limit": 3}, range(53, 56), False),
            ({"after_seq": 51, "limit": 3}, range(52, 55), True),
            ({"after_seq": 55}, range(0), False),
        ]
        for fields, seqs, more in asks:
            page = await a.ask("history", conversation_id=talk, **fields)
            assert [m["seq"] for m in page["messages"]] == list(seqs), fields
            assert (page["conversation_id"], page["more"]) == (talk, more), fields
