"""The HTTP part of the protocol's page, by somebody who has read nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from tests.acceptance.caller import Caller
from tests.acceptance.stranger import Stranger
from tests.acceptance.test_end_to_end import direct, fresh

pytestmark = pytest.mark.acceptance

TEXT = {"kind": "text", "content": {"text": "hi"}}
SEND = {"conversation_id": "d:ann:bob", "client_msg_id": "m", **TEXT}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_message_over_http_is_a_message(system: Any, http: aiohttp.ClientSession) -> None:
    """200 with `sent`, shown to everybody's connections; the key makes a repeat the same message."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    a = Caller(http, system.url, system.token(ann))
    async with AsyncExitStack() as entered:
        shown = [await entered.enter_async_context(Stranger.on(system, user)) for user in (ann, bob)]
        body = {"conversation_id": talk, **TEXT}
        status, sent = await a.post("/v1/messages", body, Idempotency_Key="k1")
        assert (status, sent["type"], sent["client_msg_id"], sent["seq"]) == (200, "sent", "k1", 1)
        assert await a.post("/v1/messages", body, Idempotency_Key="k1") == (200, sent)
        other = {**body, "content": {"text": "other"}}
        status, rejected = await a.post("/v1/messages", other, Idempotency_Key="k1")
        assert (status, rejected["type"], rejected["code"]) == (409, "rejected", 1202)
        assert (await a.post("/v1/messages", {**body, "client_msg_id": "k2"}))[1]["seq"] == 2
        for who in shown:
            await who.hears(talk, 2)
            assert [m["client_msg_id"] for m in who.messages(talk)] == ["k1", "k2"]


async def test_a_group_and_its_pages_over_http(system: Any, http: aiohttp.ClientSession) -> None:
    """What `group.create`, `history` and `sync` answer on a connection."""
    ann, bob = fresh("ann"), fresh("bob")
    a, b, e = (Caller(http, system.url, system.token(user)) for user in (ann, bob, fresh("eve")))
    async with Stranger.on(system, bob) as shown:
        status, made = await a.post("/v1/groups", {"name": "Tea", "members": [bob]})
        group = made["conversation_id"]
        assert (status, made["type"]) == (200, "ok")
        for number in range(3):
            await a.post("/v1/messages", {"conversation_id": group, "client_msg_id": f"m{number}", **TEXT})
        await shown.hears(group, 4)
        page = await shown.stored(group, 4)
        _, same = await b.get(f"/v1/conversations/{group}/messages")
        assert same == {name: value for name, value in page.items() if name != "re"}
        pages = {
            "before_seq=3&limit=1": ([2], True),
            "after_seq=2&limit=1": ([3], True),
            "after_seq=3": ([4], False),
        }
        for query, (seqs, more) in pages.items():
            _, page = await b.get(f"/v1/conversations/{group}/messages?{query}")
            assert ([m["seq"] for m in page["messages"]], page["more"]) == (seqs, more), query
        status, listed = await b.get("/v1/conversations")
        assert (status, [row["conversation_id"] for row in listed["conversations"]]) == (200, [group])
        assert (await e.get(f"/v1/conversations/{group}/messages"))[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("post", "/v1/messages", {**SEND, "conversation_id": "d:bob:ann"}, 400, 1001),
        ("post", "/v1/messages", {**SEND, "conversation_id": "d:bob:zoe"}, 404, 1103),
        ("post", "/v1/messages", {**SEND, "conversation_id": "g:never-made"}, 404, 1103),
        ("post", "/v1/messages", {**SEND, "content": {}}, 400, 1001),
        ("post", "/v1/messages", {**SEND, "client_msg_id": "m\n"}, 400, 1001),
        ("post", "/v1/messages", {**SEND, "kind": "custom", "content": {"x": "y" * 200_000}}, 413, 1002),
        ("post", "/v1/messages", [], 400, 1001),
        ("post_raw", "/v1/messages", b"{", 400, 1001),
        ("post", "/v1/groups", {"members": []}, 400, 1001),
        ("get", "/v1/conversations/g:never-made/messages", None, 404, 1103),
        ("get", "/v1/conversations/d:bob:zoe/messages", None, 404, 1103),
        ("get", "/v1/conversations/nonsense/messages", None, 400, 1001),
        ("get", "/v1/conversations/d:ann:bob/messages?limit=201", None, 400, 1001),
        ("get", "/v1/conversations/d:ann:bob/messages?before_seq=x", None, 400, 1001),
        ("get", "/v1/nowhere", None, 404, 1003),
        ("get", "/v1/messages", None, 405, 1003),
    ],
    ids=str,
)
async def test_an_error_over_http_is_the_same_object(
    system: Any, http: aiohttp.ClientSession, method: str, path: str, body: Any, status: int, code: int
) -> None:
    """With the status of its code; a refused message may be a `rejected`."""
    ask = getattr(Caller(http, system.url, system.token("ann")), method)
    got, error = await (ask(path) if method == "get" else ask(path, body))
    assert (got, error["code"]) == (status, code)
    assert {"type", "code", "name", "message", "temporary"} <= error.keys()


@pytest.mark.parametrize("token", ["", "not.a.token"])
@pytest.mark.parametrize("path", ["/v1/conversations", "/v1/gateways", "/v1/conversations/g:x/messages"])
async def test_nothing_without_a_token(
    system: Any, http: aiohttp.ClientSession, token: str, path: str
) -> None:
    """401, with the object of `error`."""
    status, error = await Caller(http, system.url, token).get(path)
    assert (status, error["code"], error["name"]) == (401, 1401, "bad_token")


async def test_what_anybody_may_ask(system: Any, http: aiohttp.ClientSession) -> None:
    """Probes, metrics and the chat page need no token; a gateway says where to connect."""
    for path in ("/livez", "/readyz", "/metrics", "/"):
        async with http.get(f"{system.url}{path}") as response:
            assert response.status == 200, path
    status, answer = await Caller(http, system.url, system.token("ann")).get("/v1/gateways")
    assert status == 200
    (offer,) = (offer for offer in answer["gateways"] if offer["url"] == system.ws_url)
    assert offer["weight"] > 0


async def test_a_long_list_comes_in_pages_over_http_too(system: Any, http: aiohttp.ClientSession) -> None:
    """While `more`, the page's token leads to the next one; what is newer than the sync may come again."""
    ann = fresh("ann")
    talks = [direct(ann, fresh("o")) for _ in range(45)]
    a = Caller(http, system.url, system.token(ann))
    async with Stranger.on(system, ann) as shown:
        for talk in talks:
            await shown.send(talk, "hi")
        for talk in talks:
            await shown.stored(talk, 1)
    listed: list[str] = []
    query, more = "", True
    while more:
        _, page = await a.get(f"/v1/conversations{query}")
        listed += [row["conversation_id"] for row in page["conversations"]]
        query, more = f"?token={page['token']}", page["more"]
    assert list(dict.fromkeys(listed)) == talks[::-1]
