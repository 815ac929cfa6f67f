"""One socket on the gateway's port: what is spoken on it, and what bad bytes do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from gateway.connection import MAX_HEAD_BYTES
from gateway.session import Session, State
from tests.connecting import connected
from tests.gateway.path import settle
from tests.gateway.world import World, a_world

UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


async def refusal(world: World, query: str = "", **more: Any) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as refused:
        await connected(world.url(query), **more)
    return refused.value


async def raw(world: World, data: bytes) -> bytes:
    """Send these bytes on a fresh socket; everything until the gateway closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    writer.write(data)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_token_is_taken_in_three_ways(world: World) -> None:
    """Header, subprotocol and query; the subprotocol of the token is never the one that is chosen."""
    token = world.token("alice")
    ways: list[dict[str, Any]] = [
        {"additional_headers": {"Authorization": f"Bearer {token}"}},
        {"subprotocols": [Subprotocol(f"bearer.{token}"), Subprotocol("im.v1.json")]},
        {"query": f"token={token}"},
    ]
    for way in ways:
        async with connect(world.url(way.pop("query", "")), proxy=None, **way) as socket:
            assert json.loads(await socket.recv())["type"] == "welcome"
            assert socket.subprotocol in (None, "im.v1.json")


@pytest.mark.parametrize("query", ["", "token=nonsense", "token="])
async def test_no_good_token_is_401(world: World, query: str) -> None:
    """With the error object as body, and before anything else."""
    refused = await refusal(world, query)
    assert refused.response.status_code == 401
    body = json.loads(refused.response.body or b"")
    assert (body["code"], body["name"], body["temporary"]) == (1401, "bad_token", False)


async def test_a_foreign_origin_is_403(world: World) -> None:
    """A browser may connect for the gateway's own page and for the pages in IM_ORIGINS."""
    query = f"token={world.token('alice')}"
    assert (await refusal(world, query, origin=Origin("https://evil.example"))).response.status_code == 403
    own = Origin(f"http://127.0.0.1:{world.gateway.port}")
    async with connect(world.url(query), origin=own, proxy=None) as socket:
        assert json.loads(await socket.recv())["type"] == "welcome"


async def test_an_allowed_origin_may_connect() -> None:
    """IM_ORIGINS is a list."""
    async with a_world(origins="https://a.example, https://b.example") as world:
        query = f"token={world.token('alice')}"
        async with connect(world.url(query), origin=Origin("https://b.example"), proxy=None) as socket:
            assert json.loads(await socket.recv())["type"] == "welcome"


@pytest.mark.parametrize("query", ["device_id=a%20b", "device_id=" + "x" * 65, "platform=toaster"])
async def test_a_bad_query_is_400(world: World, query: str) -> None:
    """Ids are checked before anything is kept."""
    refused = await refusal(world, f"{query}&token={world.token('alice')}")
    assert refused.response.status_code == 400


async def test_an_unknown_subprotocol_is_400_and_names_the_known(world: World) -> None:
    """Another `im.*` only; other names beside are none of ours."""
    refused = await refusal(world, subprotocols=[Subprotocol("im.v9.json")])
    assert refused.response.status_code == 400
    assert "im.v1.json" in json.loads(refused.response.body or b"")["message"]


async def test_a_draining_gateway_is_503(world: World) -> None:
    """With the time to try again, as integer seconds."""
    world.gateway.parts.lobby.draining = True
    refused = await refusal(world, f"token={world.token('alice')}")
    assert refused.response.status_code == 503
    assert refused.response.headers["Retry-After"].isdigit()


async def test_a_full_gateway_is_503() -> None:
    """`max_connections` bounds sessions."""
    async with a_world(max_connections=1) as world:
        await world.enter("alice")
        assert (await refusal(world, f"token={world.token('bob')}")).response.status_code == 503


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (UPGRADE.replace(b"Version: 13", b"Version: 12") + b"\r\n", b"400"),
        (UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short") + b"\r\n", b"400"),
        (UPGRADE.replace(b"Connection: Upgrade", b"Connection: close") + b"\r\n", b"426"),
        (UPGRADE + b"X: " + b"y" * MAX_HEAD_BYTES, b"431"),
        (b"x" * MAX_HEAD_BYTES, b"431"),
        (b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"426"),
        (b"\x00\x01\x02\r\n\r\n", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\n", b"400"),
    ],
)
async def test_a_bad_first_request_is_answered_and_closed(
    world: World, request_bytes: bytes, status: bytes
) -> None:
    """Whatever is sent first: a status, the end of that socket, and nothing else."""
    answer = await raw(world, request_bytes)
    assert answer.split(b"\r\n")[0].split(b" ")[1] == status


async def test_a_request_in_pieces_is_read_like_one(world: World) -> None:
    """The head may come byte by byte, and frames may come with it."""
    head = UPGRADE + f"Authorization: Bearer {world.token('alice')}\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    for byte in head[:-1]:
        writer.write(bytes((byte,)))
        await writer.drain()
    ping = b"\x89\x80\x00\x00\x00\x00"
    writer.write(head[-1:] + ping)
    assert b"101" in await reader.readuntil(b"\r\n\r\n")
    header = await reader.readexactly(4)
    welcome = json.loads(await reader.readexactly(int.from_bytes(header[2:], "big")))
    assert welcome["type"] == "welcome"
    assert await reader.readexactly(2) == b"\x8a\x00"
    writer.close()


async def test_a_message_in_fragments_is_one_message(world: World) -> None:
    """As WebSocket allows."""
    alice = await world.enter("alice")
    await alice.socket.send(iter(['{"type":', '"ping",', '"id":"f"}']))
    assert (await alice.expect("pong"))["re"] == "f"


async def test_a_large_frame_is_refused_and_a_huge_one_ends_the_connection(world: World) -> None:
    """Above max_frame_bytes 1002 and the connection stays; above 16 times that it is closed with 1009."""
    alice = await world.enter("alice")
    await alice.socket.send("x" * 65_537)
    assert (await alice.expect("error"))["code"] == 1002
    await alice.tell(type="ping")
    await alice.expect("pong")
    with suppress(ConnectionClosed):
        await alice.socket.send("x" * (16 * 65_536 + 1))
    assert await alice.closed() in (1009, 1006)


@pytest.mark.parametrize("frame", [b"\xf1\x80\x00\x00\x00\x00", b"\x81\x01x", b"\x80\x80\x00\x00\x00\x00"])
async def test_a_breach_of_websocket_ends_the_connection(world: World, frame: bytes) -> None:
    """Reserved bits, no mask, a continuation of nothing: 1002, and others are not disturbed."""
    bob = await world.enter("bob")
    head = UPGRADE + f"Authorization: Bearer {world.token('alice')}\r\n\r\n".encode()
    answer = await raw(world, head + frame)
    assert b"\x88" in answer
    assert (1002).to_bytes(2, "big") in answer
    await bob.tell(type="ping")
    await bob.expect("pong")


async def test_bad_frames_are_forgiven_until_they_are_too_many(world: World) -> None:
    """Each gets its error; then 4503, and the session cannot be resumed."""
    alice = await world.enter("alice", "device_id=phone")
    for _ in range(25):
        await alice.socket.send("nonsense")
    assert (await alice.expect("error"))["code"] == 1001
    assert await alice.closed() == 4503
    again = await world.enter("alice", f"device_id=phone&session_id={alice.welcome['session_id']}")
    assert again.welcome["resumed"] is False


async def test_a_flood_is_told_to_wait() -> None:
    """Sends above the rate are rejected with 1301 and a time; the others are accepted."""
    async with a_world(send_burst=5, sends_per_s=1) as world:
        alice = await world.enter("alice")
        for number in range(20):
            await alice.say("d:alice:bob", "hi", f"m{number}")
        answers = [await alice.next() for _ in range(25)]
        rejected = [a for a in answers if a["type"] == "rejected"]
        assert len(rejected) == 15
        assert {a["code"] for a in rejected} == {1301}
        assert all(a["temporary"] and a["retry_after_ms"] > 0 for a in rejected)
        assert len([a for a in answers if a["type"] == "sent"]) == 5


async def test_a_reader_that_reads_nothing_is_closed_and_disturbs_nobody() -> None:
    """4001 once the outbox is full; the others get every message."""
    async with a_world(outbox_bytes=20_000, limits="off") as world:
        alice, bob = await world.enter("alice"), await world.enter("bob")
        slow = await world.enter("bob", "device_id=slow")
        slow.socket.transport.pause_reading()
        world_sessions = world.gateway.hub.sessions
        slow_id = slow.welcome["session_id"]
        sent = 0
        while slow_id in world_sessions and world_sessions[slow_id].closing is None and sent < 4_000:
            await alice.say("d:alice:bob", "x" * 12_000, f"m{sent}")
            await alice.until("sent")
            sent += 1
            deliver = await bob.expect("deliver")
            assert deliver["messages"][0]["seq"] == sent
            await bob.tell(type="ack", n=deliver["n"])
        slow.socket.transport.resume_reading()
        assert await slow.closed() == 4001


async def test_a_fault_of_ours_ends_one_connection_only(world: World) -> None:
    """Counted, logged, and closed with 1011."""
    alice, bob = await world.enter("alice"), await world.enter("bob")

    handle = world.gateway.frames

    def fail(session: Session, messages: Sequence[tuple[bytes, bool]]) -> None:
        if session.user_id == "alice":
            raise RuntimeError("planted")
        handle(session, messages)

    world.gateway.frames = fail  # type: ignore[method-assign]
    await alice.tell(type="ping")
    assert await alice.closed() == 1011
    await bob.tell(type="ping")
    await bob.expect("pong")
    assert world.gateway.metrics.unexpected._value.get() == 1


async def test_a_silent_socket_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not finish the first request within the open timeout is cut."""
    monkeypatch.setattr("gateway.server.OPEN_TIMEOUT_S", 0.2)
    async with a_world() as world:
        assert await raw(world, b"GET /v1/ws HT") == b""


async def test_http_goes_on_after_the_first_request(world: World) -> None:
    """A kept-alive socket belongs to the HTTP library for good."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    for _ in range(3):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(3) == b"ok\n"
    writer.close()


async def test_a_client_that_goes_while_it_joins_leaves_nothing(world: World) -> None:
    """Behind a socket that closed before its welcome stays at most a session that is cut."""
    gate = asyncio.Event()
    attach = world.routes.attach

    async def slowly(routes: Any) -> Any:
        await gate.wait()
        return await attach(routes)

    world.routes.attach = slowly  # type: ignore[method-assign]
    head = UPGRADE + f"Authorization: Bearer {world.token('alice')}\r\n\r\n".encode()
    _, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    writer.write(head)
    await settle(lambda: len(world.gateway.hub.sessions) == 1)
    writer.transport.abort()
    gate.set()
    await settle(lambda: all(s.state is State.CUT for s in world.gateway.hub.sessions.values()))
