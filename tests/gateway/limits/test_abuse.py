"""A real gateway and those who would misuse it; whoever behaves is served meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.client import Client
from infra.memory.bus import MemoryBus
from infra.ports import Outgoing
from tests.gateway.path import settle
from tests.gateway.test_connection import UPGRADE, raw, refusal
from tests.gateway.world import Person, World, a_world

ELSEWHERE = ("127.0.0.2", 0)
"""The address from which attackers come: limits of an ip are theirs alone."""


async def speaks(person: Person) -> None:
    await person.tell(type="ping", id="alive")
    assert (await person.until("pong"))["re"] == "alive"


def counted(world: World, name: str, **labels: str) -> float:
    return world.gateway.metrics.registry.get_sample_value(name, labels) or 0.0


# Suspensions


async def test_who_sends_far_too_much_is_suspended(world: World) -> None:
    """4501 for the live socket, 403 with Retry-After for the next one, over HTTP too; others go on."""
    async with a_world(suspend_user_sends=50, suspension_s=600) as world:
        eve, alice = await world.enter("eve"), await world.enter("alice")
        with suppress(ConnectionClosed):
            for number in range(60):
                await eve.say("d:alice:eve", "buy", f"m{number}")
        assert await eve.closed() == 4501
        refused = await refusal(world, f"token={world.token('eve')}")
        assert refused.response.status_code == 403
        assert 590 <= int(refused.response.headers["Retry-After"]) <= 600
        assert json.loads(refused.response.body or b"")["name"] == "suspended"
        async with aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {world.token('eve')}"}
        ) as session:
            body = {"conversation_id": "d:alice:eve", "kind": "text", "content": {"text": "hi"}}
            async with session.post(world.http("/v1/messages"), json=body) as response:
                assert (response.status, "Retry-After" in response.headers) == (403, True)
        await speaks(alice)
        assert counted(world, "im_gateway_suspensions_total", reason="sends") == 1


async def test_who_connects_far_too_often_is_suspended() -> None:
    """The same for connects of a user; other users of that ip are not meant."""
    async with a_world(suspend_user_connects=3) as world:
        for _ in range(3):
            await world.enter("eve")
        refused = await refusal(world, f"token={world.token('eve')}")
        assert refused.response.status_code == 403
        await speaks(await world.enter("alice"))


async def test_an_operator_suspends_and_lifts_on_all_gateways(world: World) -> None:
    """Within a second the sockets of that user are closed everywhere; nobody comes in until the lift."""
    other = world.another("gw-2")
    await other.startup(port=0)
    try:
        here, there = await world.enter("eve"), await world.enter("eve", gateway=other)
        bob = await world.enter("bob", gateway=other)
        async with asyncio.timeout(5):
            await world.limits.suspend({"user:eve": (600_000, "operator")})
            assert [await here.closed(), await there.closed()] == [4501, 4501]
        for url in (world.url(), world.url(gateway=other)):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{url}token={world.token('eve')}", proxy=None)
            assert refused.value.response.status_code == 403
        await speaks(bob)
        await world.limits.lift("user:eve")
        await settle(lambda: not world.gateway.guard.blacklist.held and not other.guard.blacklist.held)
        await speaks(await world.enter("eve"))
    finally:
        await other.shutdown()


async def test_a_suspended_ip_is_closed_and_kept_out() -> None:
    """All of its users, and nobody else. The ip is that of the client, not that of the proxy."""
    async with a_world(trusted_proxies="127.0.0.1") as world:
        header = {"X-Forwarded-For": "6.6.6.6, 9.9.9.9"}
        token = f"token={world.token('eve')}"
        async with connect(world.url(token), additional_headers=header, proxy=None) as eve:
            await eve.recv()
            alice = await world.enter("alice")
            await world.limits.suspend({"ip:9.9.9.9": (60_000, "operator")})
            with suppress(ConnectionClosed):
                while True:
                    await eve.recv()
            assert eve.close_code == 4501
        assert (await refusal(world, token, additional_headers=header)).response.status_code == 403
        await speaks(alice)


async def test_the_sockets_of_a_proxy_are_those_of_its_clients() -> None:
    """The proxy may hold more than one ip may; each client behind it has its own bound."""
    async with a_world(trusted_proxies="127.0.0.1", ip_connections=2) as world:
        header, token = {"X-Forwarded-For": "9.9.9.9"}, f"token={world.token('eve')}"
        for user in ("alice", "bob"):
            await world.enter(user)
        async with (
            connect(world.url(token), additional_headers=header, proxy=None),
            connect(world.url(token), additional_headers=header, proxy=None),
        ):
            refused = await refusal(world, token, additional_headers=header)
            assert refused.response.status_code == 503
            other = {"X-Forwarded-For": "8.8.8.8"}
            async with connect(world.url(token), additional_headers=other, proxy=None) as socket:
                assert json.loads(await socket.recv())["type"] == "welcome"


async def test_the_service_itself_is_not_limited() -> None:
    """The role `server` has no rate, no quota and is not suspended."""
    settings: dict[str, Any] = {
        "sends_per_s": 1,
        "send_burst": 1,
        "suspend_user_sends": 5,
        "tenant_quota_per_s": 1,
    }
    async with a_world(**settings) as world:
        socket = await connect(world.url(f"token={world.token('app', role='server')}"), proxy=None)
        app = Person(socket)
        await app.expect("welcome")
        for number in range(30):
            await app.say("d:alice:app", "hi", f"m{number}")
        frames = [await app.next() for _ in range(60)]
        assert {frame["type"] for frame in frames} == {"accepted", "sent"}
        await socket.close()


async def test_off_lifts_them_all() -> None:
    """IM_LIMITS=off: rates, quotas, suspensions, caps of users and ips."""
    async with a_world(
        limits="off",
        sends_per_s=1,
        send_burst=1,
        suspend_user_sends=1,
        tenant_quota_per_s=1,
        user_connections=1,
    ) as world:
        await world.enter("eve")
        eve = await world.enter("eve")
        for number in range(30):
            await eve.say("d:alice:eve", "hi", f"m{number}")
        frames = [await eve.next() for _ in range(60)]
        assert {frame["type"] for frame in frames} == {"accepted", "sent"}


# Rates and quotas


async def test_a_flood_to_one_member_is_stopped_and_others_still_hear_the_sender() -> None:
    """The pair has a bucket of its own."""
    async with a_world(pair_sends_per_s=1, pair_send_burst=3) as world:
        eve = await world.enter("eve")
        for number in range(6):
            await eve.say("d:alice:eve", "buy", f"m{number}")
        await eve.say("d:bob:eve", "hi", "other")
        answers = [await eve.next() for _ in range(3 * 2 + 3 + 2)]
        rejected = [frame for frame in answers if frame["type"] == "rejected"]
        assert [frame["client_msg_id"] for frame in rejected] == ["m3", "m4", "m5"]
        assert all(frame["code"] == 1301 and frame["retry_after_ms"] > 0 for frame in rejected)
        assert "other" in [frame["client_msg_id"] for frame in answers if frame["type"] == "sent"]
        assert counted(world, "im_gateway_refused_sends_total", reason="pair") == 3


async def test_a_tenant_has_one_quota_on_all_gateways() -> None:
    """What one tenant uses up is no other's; both gateways count against it."""
    async with a_world(tenant_quotas="acme=0.1", sends_per_s=1_000, send_burst=1_000) as world:
        other = world.another("gw-2")
        await other.startup(port=0)
        try:
            taken = 0
            for gateway in (world.gateway, other):
                for number in range(20):
                    taken += await post(world, gateway.port, f"u{number}", tenant="acme") != 429
            assert 0 < taken <= 12
            assert await post(world, world.gateway.port, "free", tenant="other") == 200
        finally:
            await other.shutdown()


async def post(world: World, port: int, user: str, **claims: Any) -> int:
    headers = {"Authorization": f"Bearer {world.token(user, **claims)}"}
    body = {"conversation_id": f"d:{user}:zoe", "kind": "text", "content": {"text": "hi"}}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"http://127.0.0.1:{port}/v1/messages", json=body) as response,
    ):
        return response.status


async def test_the_sdk_waits_as_told_and_sends_again_in_order() -> None:
    """A client above its rate gets everything through, in its order, by itself."""
    async with a_world(sends_per_s=1, send_burst=2) as world:
        async with Client(f"http://127.0.0.1:{world.gateway.port}", world.token("alice")) as client:
            tickets = [await client.send("d:alice:bob", f"number {number}") for number in range(5)]
            seqs = [(await ticket.sent()).seq for ticket in tickets]
        assert seqs == [1, 2, 3, 4, 5]
        assert counted(world, "im_gateway_refused_sends_total", reason="user") > 0


# Connections


async def test_caps_of_a_user_and_of_an_ip_are_503() -> None:
    """A device that comes back counts once; another ip is not meant."""
    async with a_world(user_connections=2, ip_connections=3) as world:
        await world.enter("alice", "device_id=a")
        await world.enter("alice", "device_id=b")
        await world.enter("alice", "device_id=b")
        refused = await refusal(world, f"device_id=c&token={world.token('alice')}")
        assert refused.response.status_code == 503
        assert refused.response.headers["Retry-After"].isdigit()
        await settle(lambda: world.gateway.guard.sockets.count == 2)
        await world.enter("bob")
        assert (await raw(world, b"")).startswith(b"HTTP/1.1 503")
        await speaks(await world.enter("carol", local_addr=ELSEWHERE))


async def test_slowloris_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand sockets that say one byte now and then: some are turned away at once, all are cut by
    the open timeout, and others talk and come in meanwhile."""
    monkeypatch.setattr("gateway.server.OPEN_TIMEOUT_S", 1.0)
    async with a_world(ip_connections=800) as world:
        alice = await world.enter("alice")
        sockets = await asyncio.gather(*(slow_socket(world) for _ in range(1_000)))
        await settle(lambda: counted(world, "im_gateway_refused_connects_total", reason="ip_connections") > 0)
        for _, writer in sockets[::2]:
            writer.write(b"G")
        bob = await world.enter("bob")
        await alice.say("d:alice:bob", "hi", "m1")
        assert (await bob.expect("deliver"))["messages"][0]["seq"] == 1
        async with asyncio.timeout(20):
            await asyncio.gather(*(read_all(reader) for reader, _ in sockets))
        assert counted(world, "im_gateway_refused_connects_total", reason="ip_connections") == 200
        for _, writer in sockets:
            writer.close()
        await settle(lambda: world.gateway.guard.sockets.count == 2)
        await speaks(alice)


async def slow_socket(world: World) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", world.gateway.port, local_addr=ELSEWHERE)


async def read_all(reader: asyncio.StreamReader) -> bytes:
    with suppress(ConnectionError):
        return await reader.read()
    return b""


async def test_a_flood_of_connects_disturbs_nobody() -> None:
    """2,000 tries of one user from one ip: most are refused (429, 403, 503) or cut, others served."""
    async with a_world(ip_connect_burst=50, ip_connects_per_s=10) as world:
        alice = await world.enter("alice", local_addr=("127.0.0.3", 0))
        request = UPGRADE + f"Authorization: Bearer {world.token('eve')}\r\n\r\n".encode()
        statuses: list[bytes] = []

        async def try_often(count: int) -> None:
            for _ in range(count):
                reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
                writer.write(request)
                statuses.append((await reader.readline())[9:12])
                writer.transport.abort()

        await asyncio.gather(*(try_often(100) for _ in range(20)))
        assert set(statuses) <= {b"101", b"403", b"429", b"503", b""}
        assert statuses.count(b"101") < 300
        await alice.say("d:alice:bob", "hi", "m1")
        await alice.until("sent")
        await speaks(await world.enter("bob", local_addr=("127.0.0.3", 0)))


# Frames


def masked(opcode: int, payload: bytes = b"", fin: bool = True) -> bytes:
    return bytes(((0x80 if fin else 0) | opcode, 0x80 | len(payload))) + b"\0\0\0\0" + payload


FLOODS = {
    "pings": masked(0x9) * 2_000,
    "fragments": (masked(0x1, fin=False) + masked(0x0, fin=False) * 98 + masked(0x0)) * 20,
    "frames": masked(0x1, b'{"type":"ack","n":0}') * 2_000,
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_of_frames_ends_the_connection(flood: str) -> None:
    """Whatever they are, WebSocket pings and tiny fragments too: 4503; and nobody else is disturbed."""
    async with a_world(frames_per_s=100, frame_burst=500) as world:
        alice = await world.enter("alice")
        eve = await world.enter("eve")
        eve.socket.transport.write(FLOODS[flood])
        assert await eve.closed() == 4503
        await speaks(alice)


async def test_a_message_of_too_many_fragments_ends_the_connection() -> None:
    """1008, long before the message is large."""
    async with a_world(max_fragments=10) as world:
        eve, alice = await world.enter("eve"), await world.enter("alice")
        eve.socket.transport.write(masked(0x1, fin=False) + masked(0x0, fin=False) * 10)
        assert await eve.closed() == 1008
        await speaks(alice)


async def test_ten_fragments_are_a_message() -> None:
    """The bound itself is allowed."""
    async with a_world(max_fragments=10) as world:
        alice = await world.enter("alice")
        await alice.socket.send(iter(['{"type":', '"ping",', '"id":', '"', "f", '"', "}", " ", " "]))
        assert (await alice.expect("pong"))["re"] == "f"


async def test_bombs_are_not_unpacked(world: World) -> None:
    """A compressed frame was never agreed on (1002); a body of 64 MiB in 64 KiB of gzip is 413 or 400."""
    eve, alice = await world.enter("eve"), await world.enter("alice")
    eve.socket.transport.write(bytes((0xC1, 0x80 | 100)) + b"\0\0\0\0" + os.urandom(100))
    assert await eve.closed() == 1002
    bomb = gzip.compress(b" " * (64 << 20), 9)
    headers = {"Authorization": f"Bearer {world.token('eve')}", "Content-Encoding": "gzip"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(world.http("/v1/messages"), data=bomb) as response,
    ):
        assert response.status in (400, 413)
    await speaks(alice)


# Overload


class SlowBus(MemoryBus):
    """A log that takes nothing while it is shut."""

    def __init__(self, partitions: int, clock: Any) -> None:
        super().__init__(partitions, clock)
        self.open = asyncio.Event()

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await self.open.wait()
        await super().publish(records)


async def test_what_is_too_much_is_refused_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is slow: what fits in the backlog is kept, all of it arrives; the rest is told 1302 with a time
    to come back. Connects are refused first, group messages before direct ones."""
    monkeypatch.setattr("tests.gateway.world.MemoryBus", SlowBus)
    rates: dict[str, Any] = dict.fromkeys(
        ("sends_per_s", "send_burst", "pair_send_burst", "ip_send_burst"), 10_000
    )
    async with a_world(backlog_records=200, max_inflight=1_000, publish_timeout_s=60.0, **rates) as world:
        bus = world.bus
        assert isinstance(bus, SlowBus)
        level: Callable[[], int] = lambda: world.gateway.guard.admission.pressure.level  # noqa: E731
        alice, bob = await world.enter("alice"), await world.enter("bob")
        for number in range(172):
            await alice.say("d:alice:bob", "hi", f"m{number}")
        await settle(lambda: level() == 4)
        assert (await refusal(world, f"token={world.token('carol')}")).response.status_code == 503
        await alice.say("g:tea", "hi", "group")
        rejected = await alice.expect("rejected")
        assert (rejected["client_msg_id"], rejected["code"]) == ("group", 1302)
        for number in range(172, 250):
            await alice.say("d:alice:bob", "hi", f"m{number}")
        refused = {(await alice.expect("rejected"))["client_msg_id"] for _ in range(50)}
        bus.open.set()
        await settle(lambda: level() == 0)
        told: dict[str, list[str]] = {"accepted": [], "sent": [], "rejected": []}
        while len(told["sent"]) + len(refused) < 250:
            frame = await alice.next()
            told[frame["type"]].append(frame["client_msg_id"])
            if frame["type"] == "rejected":
                assert (frame["code"], frame["temporary"]) == (1302, True)
                assert frame["retry_after_ms"] > 0
                refused.add(frame["client_msg_id"])
        assert told["sent"] == told["accepted"] == [f"m{n}" for n in range(250) if f"m{n}" not in refused]
        got: list[str] = []
        while len(got) < len(told["sent"]):
            got += [m["client_msg_id"] for m in (await bob.expect("deliver"))["messages"]]
        assert got == told["sent"]
        await world.enter("carol")
