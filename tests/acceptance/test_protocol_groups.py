"""The page of the client protocol, sentence by sentence: groups and blocks."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.acceptance.stranger import Frame, together
from tests.acceptance.test_end_to_end import direct, fresh

pytestmark = pytest.mark.acceptance


async def test_group_changes_are_messages_for_everybody(system: Any) -> None:
    """Also for the connection that asked: the event first, then `ok`; and it leaves no hole."""
    ann, bob, cy = fresh("ann"), fresh("bob"), fresh("cy")
    async with AsyncExitStack() as entered:
        a, b, c = await together(entered, system, ann, bob, cy)
        made = await a.ask("group.create", name="Tea", members=[bob, ann, bob])
        group = made["conversation_id"]
        assert made["type"] == "ok"
        assert group.startswith("g:")
        far_ms = a.welcome["server_time_ms"] + 3_600_000
        muted = {"action": "muted", "until_ms": far_ms}
        requests: list[tuple[str, Frame, str, Frame]] = [
            ("add", {"members": [cy]}, "member", {"action": "joined", "users": [cy]}),
            (
                "role",
                {"user_id": bob, "role": "admin"},
                "member",
                {"action": "role", "users": [bob], "role": "admin"},
            ),
            ("mute", {"user_id": cy, "until_ms": far_ms}, "member", {"users": [cy], **muted}),
            ("mute", {"until_ms": far_ms}, "member", {"users": [], **muted}),
            ("rename", {"name": "Coffee"}, "group", {"action": "renamed", "name": "Coffee"}),
            ("remove", {"members": [cy]}, "member", {"action": "removed", "users": [cy]}),
            ("leave", {}, "member", {"action": "left", "users": [ann]}),
        ]
        for seq, (name, fields, kind, content) in enumerate(requests, 2):
            answer = await a.ask(f"group.{name}", conversation_id=group, **fields)
            assert answer["type"] == "ok", answer
            event = a.messages(group)[-1]
            assert (event["seq"], event["kind"], event["sender"]) == (seq, kind, ann)
            assert event["content"] == {"by": ann, **content}
        first = await b.hears(group, 1)
        assert (first["kind"], first["content"]["action"]) == ("group", "created")
        await b.hears(group, 8)
        await c.hears(group, 7)
        assert a.messages(group) == b.messages(group)
        assert [m["seq"] for m in a.messages(group)] == list(range(1, 9))
        assert [m["seq"] for m in c.messages(group)] == list(range(2, 8))


async def test_who_is_inside_and_who_is_not(system: Any) -> None:
    """A stranger learns nothing; who left reads what came before, and writes nothing."""
    ann, bob, cy, eve = (fresh(name) for name in ("ann", "bob", "cy", "eve"))
    async with AsyncExitStack() as entered:
        a, b, c, e = await together(entered, system, ann, bob, cy, eve)
        group = (await a.ask("group.create", name="Tea", members=[bob]))["conversation_id"]
        assert (await a.send(group, "before"))["seq"] == 2
        assert (await a.ask("group.add", conversation_id=group, members=[cy]))["type"] == "ok"
        assert (await a.send(group, "during"))["seq"] == 4
        assert (await c.ask("group.leave", conversation_id=group))["type"] == "ok"
        assert (await a.send(group, "after"))["seq"] == 6
        await a.stored(group, 6)

        pages = [await who.ask("history", conversation_id=group) for who in (b, c)]
        assert [[m["seq"] for m in page["messages"]] for page in pages] == [[6, 5, 4, 3, 2, 1], [5, 4, 3]]
        assert not any(page["more"] for page in pages)
        assert [m["seq"] for m in c.messages(group)] == [3, 4, 5]
        assert e.messages(group) == []

        info = await a.ask("group.info", conversation_id=group)
        assert (info["name"], info["member_count"]) == ("Tea", 2)
        members = (await a.ask("group.members", conversation_id=group))["members"]
        assert {(m["user_id"], m["role"]) for m in members} == {(ann, "owner"), (bob, "member")}

        for who, code in ((c, 1101), (e, 1103)):
            assert (await who.send(group, "let me"))["code"] == code
            assert (await who.change("react", group, 4, emoji="+", add=True))["code"] == code
            for name in ("info", "members", "leave"):
                assert (await who.ask(f"group.{name}", conversation_id=group))["code"] == code
            assert (await who.ask("group.add", conversation_id=group, members=[eve]))["code"] == code
        for request in ("history", "conversation.mute"):
            assert (await e.ask(request, conversation_id=group))["code"] == 1103
        assert (await b.ask("group.rename", conversation_id=group, name="Mine"))["code"] == 1102
        assert (await a.ask("group.create", name="Two", members=[], group_id=group[2:]))["code"] == 1102

        far_ms = a.welcome["server_time_ms"] + 3_600_000
        await a.ask("group.mute", conversation_id=group, until_ms=far_ms)
        assert (await b.send(group, "hm"))["code"] == 1105
        assert (await a.send(group, "silence"))["type"] == "sent"


async def test_a_block_keeps_the_other_from_writing(system: Any) -> None:
    """Until it is taken back; to mute a conversation is one's own affair."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with AsyncExitStack() as entered:
        a, b = await together(entered, system, ann, bob)
        assert (await a.ask("conversation.block", conversation_id=talk))["type"] == "ok"
        assert [(m["seq"], m["kind"]) for m in a.messages(talk)] == [(1, "member")]
        assert (await b.send(talk, "hello?"))["code"] == 1104
        assert (await a.ask("conversation.block", conversation_id=talk, blocked=False))["type"] == "ok"
        assert (await b.send(talk, "hello!"))["seq"] == 3
        await a.stored(talk, 3)
        assert (await a.ask("conversation.mute", conversation_id=talk, muted=True))["type"] == "ok"
        assert (await a.ask("sync", token=None))["conversations"][0]["muted"] is True
