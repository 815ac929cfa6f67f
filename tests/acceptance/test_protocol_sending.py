"""The page of the client protocol, sentence by sentence: sends, and what changes them later."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from tests.acceptance.patience import until
from tests.acceptance.stranger import Frame, Stranger, together
from tests.acceptance.test_end_to_end import direct, fresh

pytestmark = pytest.mark.acceptance

TEXT = {"kind": "text", "content": {"text": "hi"}}


@pytest.mark.parametrize("subprotocol", ["im.v1.json", "im.v1.msgpack"])
async def test_sends_of_one_connection_keep_their_order(system: Any, subprotocol: str) -> None:
    """Awaited or not; each `accepted` before its `sent`; others get them in order, n counts from 1."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with AsyncExitStack() as entered:
        (a, b) = await together(entered, system, ann, bob, subprotocol=subprotocol)
        (laptop,) = await together(entered, system, ann, device="laptop")
        names = [f"m{number}" for number in range(50)]
        for name in names:
            await a.say("send", client_msg_id=name, conversation_id=talk, **TEXT)
        ends = [await a.sees(type="sent") for _ in names]
        assert [(end["client_msg_id"], end["seq"]) for end in ends] == [
            (name, seq) for seq, name in enumerate(names, 1)
        ]
        kinds = [(frame["type"], frame["client_msg_id"]) for frame in a.frames if "client_msg_id" in frame]
        assert all(kinds.index(("accepted", name)) < kinds.index(("sent", name)) for name in names)
        await b.hears(talk, 50)
        await laptop.hears(talk, 50)
        for other in (b, laptop):
            assert [message["client_msg_id"] for message in other.messages(talk)] == names
            delivered = [frame for frame in other.frames if frame["type"] == "deliver"]
            assert [frame["n"] for frame in delivered] == list(range(1, len(delivered) + 1))
        assert a.messages(talk) == []
        first = b.messages(talk)[0]
        assert first == {
            "conversation_id": talk,
            "seq": 1,
            "message_id": ends[0]["message_id"],
            "client_msg_id": "m0",
            "sender": ann,
            "kind": "text",
            "content": {"text": "hi"},
            "sent_at_ms": ends[0]["sent_at_ms"],
        }


async def test_both_subprotocols_say_the_same(system: Any) -> None:
    """A message with everything in it is equal in JSON and in msgpack."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with AsyncExitStack() as entered:
        (a, text) = await together(entered, system, ann, bob)
        (packed,) = await together(entered, system, bob, device="packed", subprotocol="im.v1.msgpack")
        content = {"text": "é 🙂", "n": [1, 2.5, None, True], "deep": {"a": {}}}
        await a.send(talk, "", kind="custom", content=content, quote={"seq": 3}, mentions=[bob])
        message = await text.hears(talk, 1)
        assert message == await packed.hears(talk, 1)
        assert (message["content"], message["quote"], message["mentions"]) == (content, {"seq": 3}, [bob])
        for request in ("sync", "history"):
            ask = {"token": None} if request == "sync" else {"conversation_id": talk}
            # both may lag behind `sent` by the storing time
            await until(partial(text.ask, request, **ask), lambda page: page["messages"])
            answers = [await who.ask(request, **ask) for who in (text, packed)]
            assert answers[0]["messages"] == answers[1]["messages"] == [message]


async def test_a_repeated_send_gets_the_same_answer(system: Any) -> None:
    """Also on another connection; other content under the same id is a conflict; ids are per sender."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with AsyncExitStack() as entered:
        a, b = await together(entered, system, ann, bob)
        (laptop,) = await together(entered, system, ann, device="laptop")
        ends = [await who.send(talk, "once", client_msg_id="m") for who in (a, a, laptop)]
        assert len({(end["type"], end["seq"], end["message_id"], end["sent_at_ms"]) for end in ends}) == 1
        conflict = await a.send(talk, "other", client_msg_id="m")
        assert (conflict["type"], conflict["code"], conflict["name"]) == (
            "rejected",
            1202,
            "duplicate_conflict",
        )
        assert (await b.send(talk, "bob's", client_msg_id="m"))["seq"] == 2


async def test_more_sends_than_may_wait_are_refused(system: Any) -> None:
    """With 1302, temporary; every send has one answer, and those refused use no seq."""
    ann = fresh("ann")
    talk = direct(ann, fresh("bob"))
    async with Stranger.on(system, ann) as a:
        count = a.welcome["limits"]["max_inflight"] + 600
        frame = {"type": "send", "conversation_id": talk, "kind": "text", "content": {"text": "x"}}
        for number in range(count):
            a.socket.protocol.send_text(json.dumps({**frame, "client_msg_id": f"m{number}"}).encode())
        a.socket.send_data()
        ends = [await a.ends() for _ in range(count)]
        sent = [end["seq"] for end in ends if end["type"] == "sent"]
        refused = [end for end in ends if end["type"] == "rejected"]
        assert sent == list(range(1, len(sent) + 1))
        assert len(sent) + len(refused) == count
        assert refused
        assert {(end["code"], end["temporary"]) for end in refused} == {(1302, True)}


async def test_a_text_has_room_for_sixteen_kib(system: Any) -> None:
    """Media, unknown fields and all kinds of content pass."""
    ann = fresh("ann")
    talk = direct(ann, fresh("bob"))
    media = {"url": "https://x.example/i", "size_bytes": 3, "width": 1, "height": 2, "thumbnail": "AA=="}
    async with Stranger.on(system, ann) as a:
        sends: list[Frame] = [
            {"content": {"text": "x" * 16_384}},
            {"client_msg_id": "!" + "~" * 63},
            {"unknown": {"field": 1}},
            *({"kind": kind, "content": media} for kind in ("image", "voice", "video", "file")),
            {"kind": "custom", "content": {}},
        ]
        assert [(await a.send(talk, "x", **fields)).get("seq") for fields in sends] == list(
            range(1, len(sends) + 1)
        )


async def test_recall_edit_and_react_are_messages_of_their_own(system: Any) -> None:
    """With a seq; the message they are about is shown changed from then on; that of others is refused."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with AsyncExitStack() as entered:
        a, b = await together(entered, system, ann, bob)
        for text in ("one", "two"):
            await a.send(talk, text)
        await b.hears(talk, 2)
        await a.stored(talk, 2)
        assert (await a.change("edit", talk, 1, content={"text": "uno"}))["seq"] == 3
        assert (await b.change("react", talk, 1, emoji="👍", add=True))["seq"] == 4
        assert (await a.change("recall", talk, 2))["seq"] == 5
        assert (await b.change("recall", talk, 1))["code"] == 1102
        await b.hears(talk, 5)
        assert [(m["kind"], m["content"]) for m in b.messages(talk)[2:]] == [
            ("edit", {"seq": 1, "content": {"text": "uno"}}),
            ("recall", {"seq": 2}),
        ]
        assert a.messages(talk)[0]["content"] == {"seq": 1, "emoji": "👍", "add": True}
        page = await until(
            lambda: b.ask("history", conversation_id=talk),
            lambda page: len(page["messages"]) == 5 and page["messages"][-2].get("recalled"),
        )
        one, two = page["messages"][-1], page["messages"][-2]
        assert one["content"] == {"text": "uno"}
        assert isinstance(one["edited_at_ms"], int)
        assert two["recalled"] is True
        assert "two" not in json.dumps(two["content"])
        assert (await a.change("recall", talk, 2))["code"] == 1203
