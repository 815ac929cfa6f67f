"""Who may do what: every operation of the protocol, by everybody who might try it, in one table.

On sockets and over HTTP of a real gateway, with the rules that moderation judges by. A number is the
code of the refusal; `–` is a combination that does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, get_args

import aiohttp
import pytest

from schemas.frames import ClientFrame
from schemas.ids import new_name
from tests.gateway.cast import FAR_MS, USERS, Scene
from tests.gateway.judged_path import JudgedPath
from tests.gateway.world import Person, World, a_world

GROUP = """
                           stranger ex-member muted  member admin  owner  server
send                       1103     1101      1105   ok     ok     ok     1103
recall own                 –        1101      ok     ok     ok     ok     –
recall member              1103     1101      1102   1102   ok     ok     1103
recall admin               1103     1101      1102   1102   1102   ok     1103
recall owner               1103     1101      1102   1102   1102   –      1103
edit own                   –        1101      1105   ok     ok     ok     –
edit other                 1103     1101      1105   1102   1102   1102   1103
react                      1103     1101      1105   ok     ok     ok     1103
history                    1103     ok        ok     ok     ok     ok     1103
read                       1103     ok        ok     ok     ok     ok     1103
typing                     1103     1101      ok     ok     ok     ok     1103
group.info                 1103     1101      ok     ok     ok     ok     1103
group.members              1103     1101      ok     ok     ok     ok     1103
group.add                  1103     1101      ok     ok     ok     ok     1103
group.remove member        1103     1101      1102   1102   ok     ok     1103
group.remove admin         1103     1101      1102   1102   1102   ok     1103
group.remove owner         1103     1101      1102   1102   1102   –      1103
group.remove himself       1103     1101      1102   1102   1102   1102   1103
group.role member          1103     1101      1102   1102   1102   ok     1103
group.role himself         1103     1101      1102   1102   1102   1102   1103
group.mute member          1103     1101      1102   1102   ok     ok     1103
group.mute owner           1103     1101      1102   1102   1102   1102   1103
group.mute all             1103     1101      1102   1102   ok     ok     1103
group.mute himself off     1103     1101      1102   1102   1102   1102   1103
group.rename               1103     1101      1102   1102   ok     ok     1103
group.leave                1103     1101      ok     ok     ok     ok     1103
group.create same id       1102     1102      1102   1102   1102   1102   1102
channel.join               1001     1001      1001   1001   1001   1001   1001
channel.leave              1001     1001      1001   1001   1001   1001   1001
conversation.mute          1103     ok        ok     ok     ok     ok     1103
conversation.block         1001     1001      1001   1001   1001   1001   1001
"""

CHANNEL = """
                           stranger ex-member muted  member admin  owner  server
send                       1103     1101      1102   1102   ok     ok     1103
react                      1103     1101      1102   1102   ok     ok     1103
recall member              1103     1101      1102   1102   ok     ok     1103
edit other                 1103     1101      1102   1102   1102   1102   1103
history                    1103     ok        ok     ok     ok     ok     1103
read                       1103     ok        ok     ok     ok     ok     1103
typing                     1103     1101      ok     ok     ok     ok     1103
group.info                 1103     1101      ok     ok     ok     ok     1103
group.members              1103     1101      ok     ok     ok     ok     1103
group.add                  1103     1101      1102   1102   ok     ok     1103
group.remove member        1103     1101      1102   1102   ok     ok     1103
group.role member          1103     1101      1102   1102   1102   ok     1103
group.mute all             1103     1101      1102   1102   ok     ok     1103
group.rename               1103     1101      1102   1102   ok     ok     1103
channel.join               ok       ok        ok     ok     ok     ok     ok
channel.leave              1103     1101      ok     ok     ok     ok     1103
conversation.mute          1103     ok        ok     ok     ok     ok     1103
"""

DIRECT = """
                           stranger blocked   blocker server
send                       1103     1104      ok     1103
recall own                 –        ok        ok     –
recall other               1103     1102      1102   1103
edit own                   –        1104      ok     –
edit other                 1103     1104      1102   1103
react                      1103     1104      ok     1103
history                    1103     ok        ok     1103
read                       1103     ok        ok     1103
typing                     1103     ok        ok     1103
group.info                 1103     1001      1001   1103
group.add                  1103     1001      1001   1103
conversation.mute          1103     ok        ok     1103
conversation.block         1103     ok        ok     1103
conversation.block off     1103     ok        ok     1103
"""

OWN = """
                           stranger server
ack                        ok       ok
sync                       ok       ok
read_all                   ok       ok
ping                       ok       ok
presence.subscribe         ok       ok
presence.unsubscribe       ok       ok
group.create               ok       ok
group.create channel       1102     ok
"""

HTTP = """
                                                  anonymous stranger ex-member muted member admin owner server
POST /v1/messages                                 401       404      403       403   200    200   200   404
GET /v1/conversations/{conversation_id}/messages  401       404      200       200   200    200   200   404
GET /v1/conversations                             401       200      200       200   200    200   200   200
POST /v1/groups                                   401       200      200       200   200    200   200   200
POST /v1/groups channel                           401       403      403       403   403    403   403   200
GET /v1/gateways                                  401       200      200       200   200    200   200   200
POST /v1/broadcast                                401       403      403       403   403    403   403   200
POST /v1/users/{user_id}/kick                     401       403      403       403   403    403   403   200
GET /v1/users/{user_id}/presence                  401       403      403       403   403    403   403   200
GET /v1/ws                                        426       426      426       426   426    426   426   426
"""


Table = dict[tuple[str, str], str]
Frame = Callable[[Scene, str], dict[str, Any]]


def table_of(text: str) -> Table:
    """(operation, standing) → what comes of it."""
    head, *rows = [line for line in text.splitlines() if line.strip()]
    standings = head.split()
    cells: Table = {}
    for row in rows:
        words = row.split()
        operation = " ".join(words[: -len(standings)])
        for standing, outcome in zip(standings, words[-len(standings) :], strict=True):
            if outcome != "–":
                cells[operation, standing] = outcome
    return cells


def _target(scene: Scene, user: str) -> int:
    return scene.seqs.get(user.rstrip("0123456789"), 1)


def _other(scene: Scene, user: str) -> int:
    return next(seq for name, seq in scene.seqs.items() if not user.startswith(name))


def _change(**fields: Any) -> Frame:
    return lambda *_: {"client_msg_id": new_name(), **fields}


def _at(who: str, **fields: Any) -> Frame:
    """A change of the message of `who`; "" stands for oneself."""

    def frame(scene: Scene, user: str) -> dict[str, Any]:
        seq = _other(scene, user) if who == "other" else _target(scene, who or user)
        return {"client_msg_id": new_name(), "seq": seq, **fields}

    return frame


def _with(**fields: Any) -> Frame:
    return lambda *_: fields


def _himself(**fields: Any) -> Frame:
    def frame(_: Scene, user: str) -> dict[str, Any]:
        return {name: [user] if value == ["him"] else user if value == "him" else value
                for name, value in fields.items()}  # fmt: skip

    return frame


TEXT = {"text": "hi"}
FRAMES: dict[str, Frame] = {
    "send": _change(kind="text", content=TEXT),
    "recall own": _at(""),
    "recall member": _at("vic"),
    "recall admin": _at("adam"),
    "recall owner": _at("olga"),
    "recall other": _at("other"),
    "edit own": _at("", content=TEXT),
    "edit other": _at("other", content=TEXT),
    "react": _at("other", emoji="x", add=True),
    "history": _with(),
    "read": _with(seq=1),
    "typing": _with(active=True),
    "group.info": _with(),
    "group.members": _with(),
    "group.add": _with(members=["nora"]),
    "group.remove member": _with(members=["vic"]),
    "group.remove admin": _with(members=["adam"]),
    "group.remove owner": _with(members=["olga"]),
    "group.remove himself": _himself(members=["him"]),
    "group.role member": _with(user_id="vic", role="admin"),
    "group.role himself": _himself(user_id="him", role="owner"),
    "group.mute member": _with(user_id="vic", until_ms=FAR_MS),
    "group.mute owner": _with(user_id="olga", until_ms=FAR_MS),
    "group.mute all": _with(until_ms=FAR_MS),
    "group.mute himself off": _himself(user_id="him", until_ms=0),
    "group.rename": _with(name="Coffee"),
    "group.leave": _with(),
    "group.create same id": lambda scene, _: {
        "group_id": scene.conversation_id[2:], "name": "Mine", "members": [], "conversation_id": ...,
    },
    "channel.join": _with(),
    "channel.leave": _with(),
    "conversation.mute": _with(),
    "conversation.block": _with(),
    "conversation.block off": _with(blocked=False),
    "ack": _with(n=0, conversation_id=...),
    "sync": _with(token=None, conversation_id=...),
    "read_all": _with(conversation_id=...),
    "ping": _with(conversation_id=...),
    "presence.subscribe": _with(user_ids=["olga"], conversation_id=...),
    "presence.unsubscribe": _with(user_ids=["olga"], conversation_id=...),
    "group.create": _with(name="New", members=["max"], conversation_id=...),
    "group.create channel": _with(name="News", members=[], kind="channel", conversation_id=...),
}  # fmt: skip
WITHOUT_ID = {"typing", "ack"}
SILENT = {"typing", "ack", "read"}
"""Nothing answers these: a ping that is answered after them says that nothing refused them.

A pong waits for the next round of pings, 20 ms, and a refusal from stores in memory for nothing.
"""


async def outcome(person: Person, operation: str, scene: Scene) -> dict[str, Any]:
    """The frame that ends this request: an answer, a refusal, or a pong after silence."""
    kind = operation.split(maxsplit=1)[0]
    user = person.welcome["user_id"]
    wanted = new_name()
    frame: dict[str, Any] = {"type": kind, "id": wanted, "conversation_id": scene.conversation_id}
    frame = {k: v for k, v in (frame | FRAMES[operation](scene, user)).items() if v is not ...}
    if kind in WITHOUT_ID:
        del frame["id"]
    await person.tell(**frame)
    if kind in SILENT:
        await person.tell(type="ping", id=wanted)
    while True:
        answer = await person.next()
        if answer["type"] == "error" or (answer.get("re") == wanted and answer["type"] != "accepted"):
            return answer


def verdict(answer: dict[str, Any]) -> str:
    return str(answer["code"]) if answer["type"] in ("error", "rejected") else "ok"


class Crowd:
    """Everybody's connection to one gateway."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._people: dict[str, Person] = {}

    async def person(self, user: str) -> Person:
        if user not in self._people:
            self._people[user] = await self._enter(user)
        return self._people[user]

    async def tries(self, user: str, operation: str, scene: Scene) -> dict[str, Any]:
        """What comes of an operation on a connection of its own, which nothing else has touched."""
        person = await self._enter(user)
        try:
            return await outcome(person, operation, scene)
        finally:
            await person.socket.close()

    async def _enter(self, user: str) -> Person:
        role = "server" if user == USERS["server"] else None
        return await self.world.enter(user, role=role)


@pytest.fixture
async def crowd() -> AsyncIterator[Crowd]:
    async with a_world(JudgedPath, limits="off") as world:
        yield Crowd(world)


async def a_scene(world: World, name: str) -> Scene:
    if name == "direct":
        return await Scene.a_direct(world)
    return await Scene.a_group(world, "c" if name == "channel" else "g")


@pytest.mark.parametrize(
    ("name", "text"), [("group", GROUP), ("channel", CHANNEL), ("direct", DIRECT), ("own", OWN)]
)
async def test_everybody_may_do_what_the_table_says_and_nothing_else(
    crowd: Crowd, name: str, text: str
) -> None:
    """Each operation is tried by each standing in a conversation of its own."""
    table = table_of(text)
    found: Table = {}
    for operation, standing in table:
        scene = await a_scene(crowd.world, name)
        answer = await crowd.tries(scene.user(standing), operation, scene)
        found[operation, standing] = verdict(answer)
    assert found == table


def test_the_table_names_every_operation() -> None:
    """A frame that is added to the protocol needs its row."""
    rows = {row.split()[0] for text in (GROUP, CHANNEL, DIRECT, OWN) for row, _ in table_of(text)}
    assert rows == {str(frame.__struct_config__.tag) for frame in get_args(ClientFrame)}


@pytest.mark.parametrize("name", ["group", "channel", "direct"])
async def test_a_foreign_conversation_answers_like_one_that_is_not_there(crowd: Crowd, name: str) -> None:
    """Whatever a stranger tries, nothing tells him whether somebody talks there."""
    table = table_of({"group": GROUP, "channel": CHANNEL, "direct": DIRECT}[name])
    there = await a_scene(crowd.world, name)
    nowhere = Scene("d:carl:dora" if name == "direct" else f"{there.conversation_id[0]}:nowhere")
    nowhere.seqs = there.seqs
    for standing in ("stranger", "server"):
        person = await crowd.person(USERS[standing])
        for operation in [row for row, who in table if who == standing]:
            if operation in ("channel.join", "group.create same id"):
                continue  # anybody may come in, and a name that is taken cannot be had: both say so
            answers = [await outcome(person, operation, scene) for scene in (there, nowhere)]
            plain = [
                {k: v for k, v in answer.items() if k not in ("re", "client_msg_id", "conversation_id")}
                for answer in answers
            ]
            if table[operation, standing] != "ok":
                assert plain[0] == plain[1], (operation, standing)


@pytest.mark.parametrize("prefix", ["g", "c"])
async def test_everybody_sees_his_own_time_in_a_conversation(crowd: Crowd, prefix: str) -> None:
    """Members all of it; who has left what was before, by history only; others nothing."""
    scene = await Scene.a_group(crowd.world, prefix)
    newest = scene.seqs["later"]
    wanted = dict.fromkeys(("muted", "member", "admin", "owner"), newest)
    wanted |= {"ex-member": scene.left_seq, "stranger": 0, "server": 0}
    for standing, last in wanted.items():
        person = await crowd.person(USERS[standing])
        page = await outcome(person, "history", scene)
        assert max([m["seq"] for m in page.get("messages", [])], default=0) == last, standing
        listed = await outcome(person, "sync", scene)
        seen = [m["seq"] for m in listed["messages"] if m["conversation_id"] == scene.conversation_id]
        assert max(seen, default=0) == (0 if standing == "ex-member" else last), standing
        rows = [c["conversation_id"] for c in listed["conversations"]]
        assert (scene.conversation_id in rows) == (bool(last) and standing != "ex-member"), standing


async def test_nobody_hears_of_what_he_is_not_in(crowd: Crowd) -> None:
    """A message, an event and a typing note reach the members; not the stranger, nor who has left."""
    scene = await Scene.a_group(crowd.world)
    olga, vic = await crowd.person("olga"), await crowd.person("vic")
    outside = [await crowd.person(USERS[who]) for who in ("stranger", "ex-member", "server")]
    for operation in ("send", "group.rename", "typing"):
        await outcome(olga, operation, scene)
    assert (await vic.until("typing"))["user_id"] == "olga"
    for person in outside:
        await person.tell(type="ping", id="now")
        assert (await person.next())["type"] == "pong"


async def test_who_is_blocked_reaches_the_other_by_no_way(crowd: Crowd) -> None:
    """No message, no typing note, no sight of him; the refusal tells only the one who tried."""
    scene = await Scene.a_direct(crowd.world)
    alice, bob = await crowd.person(scene.user("blocked")), await crowd.person(scene.user("blocker"))
    for operation in ("typing", "send", "react"):
        await outcome(alice, operation, scene)
    await alice.tell(type="presence.subscribe", id="p", user_ids=[scene.user("blocker")])
    assert (await alice.until("ok"))["presence"][0]["online"] is False
    await bob.tell(type="ping", id="now")
    assert (await bob.next())["type"] == "pong"


# HTTP


BODIES: dict[str, Callable[[Scene], dict[str, Any]]] = {
    "POST /v1/messages": lambda scene: {
        "conversation_id": scene.conversation_id, "client_msg_id": new_name(),
        "kind": "text", "content": TEXT,
    },
    "POST /v1/groups": lambda _: {"name": "New", "members": []},
    "POST /v1/groups channel": lambda _: {"name": "News", "members": [], "kind": "channel"},
    "POST /v1/broadcast": lambda scene: {
        "conversation_id": scene.conversation_id, "client_msg_id": new_name(), "content": TEXT,
    },
    "POST /v1/users/{user_id}/kick": lambda _: {},
}  # fmt: skip


async def test_http_answers_everybody_as_the_table_says() -> None:
    """The status of each route, also for who shows no token."""
    table = table_of(HTTP)
    found: Table = {}
    async with a_world(JudgedPath, limits="off") as world, aiohttp.ClientSession() as http:

        async def ask(operation: str, standing: str) -> int:
            scene = await Scene.a_group(world)
            method, route = operation.split()[:2]
            path = route.format(conversation_id=scene.conversation_id, user_id="nobody")
            headers = {}
            if standing != "anonymous":
                role = "server" if standing == "server" else None
                headers["Authorization"] = f"Bearer {world.token(USERS[standing], role=role)}"
            body = BODIES[operation](scene) if operation in BODIES else None
            async with http.request(method, world.http(path), headers=headers, json=body) as answer:
                return answer.status

        for operation, standing in table:
            found[operation, standing] = str(await ask(operation, standing))
        routes = {f"{r.method} {r.resource.canonical}" for r in _routes(world)}
    assert found == table
    assert {" ".join(row.split()[:2]) for row, _ in table} == {r for r in routes if " /v1/" in r}


async def test_an_http_answer_does_not_tell_a_foreign_conversation_from_a_missing_one() -> None:
    """The same status and the same words."""
    async with a_world(JudgedPath, limits="off") as world, aiohttp.ClientSession() as http:
        scene = await Scene.a_group(world)
        headers = {"Authorization": f"Bearer {world.token('sam')}"}
        answers = []
        for conversation_id in (scene.conversation_id, "g:nowhere"):
            path = world.http(f"/v1/conversations/{conversation_id}/messages")
            async with http.get(path, headers=headers) as answer:
                answers.append((answer.status, await answer.json()))
        assert answers[0] == answers[1]
        assert answers[0][0] == 404


async def test_without_a_token_no_socket_opens() -> None:
    """401 before any frame is read, so that no operation is left to try."""
    async with a_world() as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
        writer.write(
            b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert (await reader.readline()).split()[1] == b"401"
        writer.close()


def _routes(world: World) -> list[Any]:
    server = world.gateway._runner.app
    return [route for route in server.router.routes() if route.method != "HEAD"]
