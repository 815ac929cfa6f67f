"""The page of the client protocol, sentence by sentence, by somebody who has read nothing else."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.acceptance.patience import PATIENCE_S, until
from tests.acceptance.stranger import Frame, Stranger
from tests.acceptance.test_end_to_end import direct, fresh

pytestmark = pytest.mark.acceptance

TEXT = {"kind": "text", "content": {"text": "hi"}}
SEND = {"type": "send", "client_msg_id": "m", "conversation_id": "d:ann:bob", **TEXT}


async def together(entered: AsyncExitStack, system: Any, *users: str, **options: Any) -> list[Stranger]:
    return [await entered.enter_async_context(Stranger.on(system, user, **options)) for user in users]


# Connect


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
    async with connect(
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
        await connect(
            f"{system.ws_url}?x=1{query}",
            additional_headers={"Authorization": f"Bearer {good}"} if good else {},
            subprotocols=[Subprotocol(name) for name in offered] or None,
        )
    response = refused.value.response
    assert response.status_code == status
    error = json.loads(response.body or b"")
    assert {"code", "name", "message", "temporary"} <= error.keys()
    assert said in error["name"] + error["message"]


# Frames that do not fit


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


# Sending


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


# Sync and history


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


# Groups


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


# Receipts, reading, typing, ping


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


# Sessions


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
