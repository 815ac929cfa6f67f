"""HTTP that only the service may ask: broadcast, kick, presence."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import msgspec
import pytest

from schemas.codec import AUDIT, INBOUND
from schemas.codes import Code
from schemas.errors import Refused
from schemas.topics import AUDIT as AUDIT_TOPIC
from schemas.topics import INBOUND as INBOUND_TOPIC
from tests.gateway.world import World

Ask = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
async def ask(world: World) -> AsyncIterator[Ask]:
    """ask(method, path, role, **more) → (status, body), as the user `ops`."""
    async with aiohttp.ClientSession() as session:

        async def send(method: str, path: str, role: str | None = "server", **more: Any) -> tuple[int, Any]:
            token = world.token("ops", role=role)
            headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
            async with session.request(method, world.http(path), headers=headers, **more) as answer:
                return answer.status, await answer.json()

        yield send


def audit_of(world: World) -> list[tuple[str, str, str, str, dict[str, Any]]]:
    """(actor, action, target, state, details) of everything that was written to im.audit."""
    read = [AUDIT.decode(record.value) for record in world.bus.records(AUDIT_TOPIC)]
    return [(a.actor, a.action, a.target, a.state, msgspec.json.decode(a.details)) for a in read]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/broadcast"),
        ("POST", "/v1/users/bob/kick"),
        ("GET", "/v1/users/bob/presence"),
    ],
)
async def test_only_the_service_may_ask(world: World, ask: Ask, method: str, path: str) -> None:
    """403 for everybody else, and nothing is written."""
    status, error = await ask(method, path, None, json={})
    assert (status, error["code"]) == (403, 1102)
    assert audit_of(world) == []


# Kick


async def test_a_kicked_user_is_closed_everywhere(world: World, ask: Ask) -> None:
    """`kicked`, then 4504, on every device and every gateway; others stay."""
    other = world.another("gw-2")
    await other.startup(port=0)
    phone = await world.enter("bob", "device_id=phone")
    desk = await world.enter("bob", "device_id=desk", gateway=other)
    alice = await world.enter("alice")
    status, answer = await ask("POST", "/v1/users/bob/kick")
    assert (status, answer) == (200, {"type": "ok", "user_id": "bob", "devices": 2})
    for person in (phone, desk):
        kicked = await person.expect("kicked")
        assert (kicked["code"], kicked["reason"]) == (4504, "an operator closed this connection")
        assert await person.closed() == 4504
    await alice.tell(type="ping")
    await alice.expect("pong")
    await other.shutdown()
    begun, done = audit_of(world)
    assert begun == ("ops", "user.kick", "bob", "begun", {"device_id": None, "revoke": False})
    assert done == ("ops", "user.kick", "bob", "done", {"devices": 2})


async def test_one_device_alone_may_be_kicked(world: World, ask: Ask) -> None:
    """The others are left alone."""
    phone, desk = await world.enter("bob", "device_id=phone"), await world.enter("bob", "device_id=desk")
    assert (await ask("POST", "/v1/users/bob/kick", json={"device_id": "phone"}))[1]["devices"] == 1
    assert await phone.closed() == 4504
    await desk.tell(type="ping")
    await desk.expect("pong")


async def test_a_kicked_user_may_come_back_unless_his_tokens_are_revoked(world: World, ask: Ask) -> None:
    """After a revocation tokens made before it are refused, on sockets and over HTTP, by every gateway."""
    other = world.another("gw-2")
    await other.startup(port=0)
    bob = await world.enter("bob")
    await ask("POST", "/v1/users/bob/kick")
    assert await bob.closed() == 4504
    bob = await world.enter("bob", gateway=other)
    old = world.token("bob")
    assert (await ask("POST", "/v1/users/bob/kick", json={"revoke": True}))[0] == 200
    assert await bob.closed() == 4504
    async with aiohttp.ClientSession() as http:
        for gateway in (world.gateway, other):
            url = f"http://127.0.0.1:{gateway.port}/v1/conversations"
            for token, status in ((old, 401), (new_token(world), 200), (world.token("alice"), 200)):
                async with http.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
                    assert answer.status == status
    await other.shutdown()


def new_token(world: World) -> str:
    """One that is made in the next second: `iat` counts whole ones."""
    from infra.tokens import mint_token
    from tests.gateway.world import SECRET

    return mint_token(SECRET, "bob", now_s=world.clock.now_ms() // 1000 + 1)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/users/bob/kick", {"revoke": True, "device_id": "phone"}),
        ("/v1/users/bob/kick", {"device_id": "a b"}),
        ("/v1/users/b%20b/kick", {}),
        ("/v1/broadcast", {"content": {"text": "hi"}}),
        ("/v1/broadcast", {"content": {"text": "hi"}, "conversation_id": "c:x", "user_ids": ["bob"]}),
        ("/v1/broadcast", {"content": {"text": "hi"}, "user_ids": ["b b"]}),
        ("/v1/broadcast", {"conversation_id": "c:x"}),
    ],
)
async def test_a_bad_request_does_nothing(world: World, ask: Ask, path: str, body: Any) -> None:
    """400 before anything is written."""
    status, error = await ask("POST", path, json=body)
    assert (status, error["code"]) == (400, 1001)
    assert audit_of(world) == []


# Broadcast


async def test_a_broadcast_to_users_is_a_message_to_each(world: World, ask: Ask) -> None:
    """Of kind `system`, in the direct conversation with the service, on the ordinary path, once."""
    alice, bob = await world.enter("alice"), await world.enter("bob")
    body = {"user_ids": ["alice", "bob", "alice", "ops"], "content": {"text": "soon"}}
    status, answer = await ask("POST", "/v1/broadcast", json=body, headers={"Idempotency-Key": "b1"})
    assert status == 200
    ends = [(end["type"], end["conversation_id"], end["client_msg_id"]) for end in answer["results"]]
    assert ends == [
        ("sent", "d:alice:ops", "b1"),
        ("sent", "d:bob:ops", "b1"),
        ("rejected", "d:ops:ops", "b1"),
    ]
    for person in (alice, bob):
        message = (await person.expect("deliver"))["messages"][0]
        assert (message["kind"], message["sender"], message["content"]) == ("system", "ops", {"text": "soon"})
    inbound = [
        INBOUND.decode(record.value)
        for number in (0, 1)
        for record in world.bus.records(INBOUND_TOPIC, number)
    ]
    assert {i.conversation_id for i in inbound} == {"d:alice:ops", "d:bob:ops"}
    assert audit_of(world)[1][3:] == ("done", {"sent": 2, "rejected": 1})
    assert "soon" not in str(audit_of(world))


async def test_a_broadcast_to_a_conversation_needs_no_membership(world: World, ask: Ask) -> None:
    """What moderation says of it comes back; the members get it like any message."""
    alice, bob = await world.enter("alice"), await world.enter("bob")
    await alice.tell(type="group.create", id=1, name="Tea", members=["bob"], group_id="tea")
    await alice.until("ok")
    await bob.expect("deliver")
    body = {"conversation_id": "g:tea", "content": {"text": "soon"}}
    status, answer = await ask("POST", "/v1/broadcast", json=body)
    assert (status, answer["results"][0]["seq"]) == (200, 2)
    for person in (alice, bob):
        assert (await person.expect("deliver"))["messages"][0]["kind"] == "system"
    world.path.judge = lambda _: Refused(Code.NO_SUCH_CONVERSATION)
    status, answer = await ask("POST", "/v1/broadcast", json={**body, "conversation_id": "c:none"})
    assert (status, answer["results"][0]["code"]) == (200, 1103)


# Presence


async def test_the_service_sees_who_is_there(world: World, ask: Ask) -> None:
    """The same object as the frame."""
    status, away = await ask("GET", "/v1/users/bob/presence")
    assert (status, away) == (
        200,
        {"type": "presence", "user_id": "bob", "online": False, "platforms": []},
    )
    await world.enter("bob", "platform=ios")
    _, there = await ask("GET", "/v1/users/bob/presence")
    assert (there["online"], there["platforms"]) == (True, ["ios"])
