"""HTTP on the gateway's port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from schemas.codes import Code
from schemas.errors import Refused
from tests.gateway.world import World, a_world

Ask = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
async def ask(world: World) -> AsyncIterator[Ask]:
    """ask(method, path, user, **more) → (status, body)."""
    async with aiohttp.ClientSession() as session:

        async def send(method: str, path: str, user: str | None = "alice", **more: Any) -> tuple[int, Any]:
            headers = dict(more.pop("headers", {}))
            if user is not None:
                headers["Authorization"] = f"Bearer {world.token(user)}"
            async with session.request(method, world.http(path), headers=headers, **more) as answer:
                is_json = answer.content_type == "application/json"
                return answer.status, await (answer.json() if is_json else answer.text())

        yield send


def a_text(**more: Any) -> dict[str, Any]:
    return {"conversation_id": "d:alice:bob", "kind": "text", "content": {"text": "hi"}} | more


async def test_a_message_over_http_is_sent_and_delivered(world: World, ask: Ask) -> None:
    """200 with `sent`; all connections of both users get it, the sender's too."""
    alice, bob = await world.enter("alice"), await world.enter("bob")
    status, sent = await ask("POST", "/v1/messages", json=a_text(), headers={"Idempotency-Key": "k1"})
    assert (status, sent["type"], sent["client_msg_id"], sent["seq"]) == (200, "sent", "k1", 1)
    for person in (alice, bob):
        assert (await person.expect("deliver"))["messages"][0]["client_msg_id"] == "k1"


async def test_a_rejected_message_has_the_status_of_its_code(world: World, ask: Ask) -> None:
    """With `rejected` as body, and nothing for the sender's connections."""
    world.path.judge = lambda _: Refused(Code.MODERATED)
    alice = await world.enter("alice")
    status, body = await ask("POST", "/v1/messages", json=a_text(client_msg_id="m"))
    assert (status, body["type"], body["code"], body["client_msg_id"]) == (403, "rejected", 1201, "m")
    await alice.tell(type="ping")
    await alice.expect("pong")


async def test_an_unfinished_message_is_202(world: World, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `accepted`: the log has it, its place is not known in time."""
    monkeypatch.setattr("gateway.http_call.SENT_WAIT_S", 0.1)

    async def ignore(_: object) -> None: ...

    world.path.handle = ignore  # type: ignore[method-assign, assignment]
    status, body = await ask("POST", "/v1/messages", json=a_text(client_msg_id="m"))
    assert (status, body["type"]) == (202, "accepted")
    assert world.gateway.hub.callers == {}


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "code"),
    [
        ("POST", "/v1/messages", {"data": b"nonsense"}, 400, 1001),
        ("POST", "/v1/messages", {"data": b"[" * 50_000}, 400, 1001),
        ("POST", "/v1/messages", {"json": []}, 400, 1001),
        ("POST", "/v1/messages", {"json": a_text(kind="song")}, 400, 1001),
        ("POST", "/v1/messages", {"json": a_text(conversation_id="d:bob:alice")}, 400, 1001),
        ("POST", "/v1/messages", {"json": a_text(conversation_id="d:bob:carol")}, 404, 1103),
        ("POST", "/v1/messages", {"json": a_text(), "headers": {"Idempotency-Key": "a b"}}, 400, 1001),
        ("POST", "/v1/messages", {"data": b"x" * 200_000}, 413, 1002),
        ("POST", "/v1/groups", {"json": {"name": ""}}, 400, 1001),
        ("GET", "/v1/conversations/g:secret/messages", {}, 404, 1103),
        ("GET", "/v1/conversations/d:bob:carol/messages", {}, 404, 1103),
        ("GET", "/v1/conversations/nonsense/messages", {}, 400, 1001),
        ("GET", "/v1/conversations/d:alice:bob/messages?limit=999", {}, 400, 1001),
        ("GET", "/v1/conversations/d:alice:bob/messages?before_seq=x", {}, 400, 1001),
        ("GET", "/v1/conversations/d:alice:bob/messages?from=-1", {}, 400, 1001),
        ("GET", "/v1/conversations/d:alice:bob/messages?to=noon", {}, 400, 1001),
    ],
)
async def test_a_bad_request_gets_the_error_object(
    ask: Ask, method: str, path: str, more: dict[str, Any], status: int, code: int
) -> None:
    """With the status of its code."""
    assert (await ask(method, path, **more))[0] == status
    body = (await ask(method, path, **more))[1]
    assert (body["type"], body["code"]) == ("error", code)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/messages"),
        ("POST", "/v1/groups"),
        ("GET", "/v1/conversations"),
        ("GET", "/v1/conversations/d:alice:bob/messages"),
        ("GET", "/v1/gateways"),
    ],
)
async def test_without_a_token_everything_is_401(ask: Ask, method: str, path: str) -> None:
    """Also with a wrong one."""
    assert (await ask(method, path, None))[0] == 401
    assert (await ask(method, path, None, headers={"Authorization": "Bearer x.y.z"}))[0] == 401


async def test_history_and_list_are_read_over_http(ask: Ask) -> None:
    """The pages of `history` and `sync`."""
    for number in range(3):
        await ask("POST", "/v1/messages", json=a_text(client_msg_id=f"m{number}"))
    status, page = await ask("GET", "/v1/conversations/d:alice:bob/messages?limit=2")
    assert (status, [m["seq"] for m in page["messages"]], page["more"]) == (200, [3, 2], True)
    _, page = await ask("GET", "/v1/conversations/d:alice:bob/messages?after_seq=2", "bob")
    assert [m["seq"] for m in page["messages"]] == [3]
    sent_at_ms = page["messages"][0]["sent_at_ms"]
    _, page = await ask(
        "GET", f"/v1/conversations/d:alice:bob/messages?from={sent_at_ms}&to={sent_at_ms + 1}"
    )
    assert 3 in [m["seq"] for m in page["messages"]]
    _, page = await ask("GET", f"/v1/conversations/d:alice:bob/messages?from={sent_at_ms + 1}")
    assert page["messages"] == []
    status, conversations = await ask("GET", "/v1/conversations", "bob")
    assert (status, conversations["conversations"][0]["unread"]) == (200, 3)


async def test_a_group_is_made_over_http(ask: Ask) -> None:
    """200 with the id, once its event has its place."""
    status, body = await ask("POST", "/v1/groups", json={"name": "Team", "members": ["bob"], "group_id": "t"})
    assert (status, body["type"], body["conversation_id"]) == (200, "ok", "g:t")


async def test_probes_and_metrics(world: World, ask: Ask) -> None:
    """Alive at once; ready with a reason for each dependency; metrics without a user in them."""
    assert await ask("GET", "/livez", None) == (200, "ok\n")
    await world.gateway.health.look()
    status, report = await ask("GET", "/readyz", None)
    assert (status, report["ready"], set(report["dependencies"])) == (
        200,
        True,
        {"kafka", "redis", "cassandra", "pipeline"},
    )
    await world.enter("alice")
    status, text = await ask("GET", "/metrics", None)
    assert "im_gateway_connections 1.0" in text
    assert "alice" not in text


async def test_the_page_is_served_with_a_strict_policy(world: World) -> None:
    """Nothing from elsewhere, nothing inline; and only files of the page can be named."""
    async with aiohttp.ClientSession() as session:
        async with session.get(world.http("/")) as answer:
            assert answer.status == 200
            assert "unsafe" not in answer.headers["Content-Security-Policy"]
        for name in ("nothing.js", "..%2Fserver.py", "%2e%2e/server.py", "README.md"):
            async with session.get(world.http(f"/web/{name}")) as answer:
                assert answer.status == 404


async def test_demo_tokens_are_given_only_in_a_demo(ask: Ask) -> None:
    """Else there is no such address."""
    assert (await ask("POST", "/demo/token", None, json={"user_id": "alice"}))[0] == 404
    async with a_world(demo="on") as world, aiohttp.ClientSession() as session:
        async with session.post(world.http("/demo/token"), json={"user_id": "zoe"}) as answer:
            token = (await answer.json())["token"]
        headers = {"Authorization": f"Bearer {token}"}
        async with session.get(world.http("/v1/gateways"), headers=headers) as answer:
            gateways = (await answer.json())["gateways"]
            assert gateways[0]["gateway_id"] == "gw-1"
        async with session.post(world.http("/demo/token"), json={"user_id": "a b"}) as answer:
            assert answer.status == 400


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/nowhere", 404), ("GET", "/v1/messages", 405)]
)
async def test_a_path_that_nothing_answers_gets_the_error_object(
    ask: Ask, method: str, path: str, status: int
) -> None:
    """As every other error does."""
    got, error = await ask(method, path)
    assert (got, error["type"], error["name"]) == (status, "error", "unknown_type")
