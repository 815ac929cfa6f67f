"""The main job on the real engines: what people say reaches whom it should, once, in order, and stays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from gateway.client.errors import ServerRefused
from infra.cassandra import CassandraHistory
from infra.kafka import KafkaBus
from infra.ports import Outgoing, Record
from infra.settings import Settings
from pipeline.moderation.policy import publish_policy
from schemas.codec import DECISION, MESSAGE
from schemas.errors import Undecodable
from schemas.records import Policy, Rule
from tests.acceptance.caller import Caller
from tests.acceptance.patience import eventually, until
from tests.acceptance.people import Person

pytestmark = pytest.mark.acceptance

RETURNS_S = 120.0
"""For what was killed to be there again, and to have caught up."""


def fresh(name: str) -> str:
    """A user or group id of this test alone."""
    return f"{name}-{uuid4().hex[:8]}"


def direct(one: str, other: str) -> str:
    first, second = sorted((one, other))
    return f"d:{first}:{second}"


async def on_bus(settings: Settings, use: Callable[[KafkaBus], Awaitable[Any]]) -> Any:
    bus = KafkaBus(settings)
    await bus.startup()
    try:
        return await use(bus)
    finally:
        await bus.shutdown()


async def records_of(settings: Settings, topic: str, conversation_id: str) -> list[Record]:
    """What a topic holds under this conversation's key."""

    async def read(bus: KafkaBus) -> list[Record]:
        found: list[Record] = []
        for partition in await bus.ends(topic):
            await bus.read_range(topic, partition, 0, None, found.extend)
        return [record for record in found if record.key == conversation_id.encode()]

    found: list[Record] = await on_bus(settings, read)
    return found


async def test_two_people_chat(system: Any) -> None:
    """What one says the other sees once, in order; it is in the log, judged, and stored."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with Person(system, ann) as a, Person(system, bob, codec="msgpack") as b:
        assert [await a.say(talk, f"one {n}") for n in range(5)] == [1, 2, 3, 4, 5]
        assert await b.say(talk, "and back") == 6
        await a.hears(talk, "and back")
        await b.has(talk, 1, 2, 3, 4, 5, 6)
    messages = [MESSAGE.decode(r.value) for r in await records_of(system.settings, "im.messages", talk)]
    assert [m.seq for m in messages] == [1, 2, 3, 4, 5, 6]
    decided = await until(  # the log may have its record after the message went on
        lambda: records_of(system.settings, "im.moderation", talk), lambda found: len(found) >= len(messages)
    )
    decisions = [DECISION.decode(record.value) for record in decided]
    assert [(d.verdict, d.client_msg_id) for d in decisions] == [
        ("accept", m.client_msg_id) for m in messages
    ]
    history = CassandraHistory(system.settings)
    await history.startup()
    try:
        stored = await until(lambda: history.page(talk, limit=10), lambda rows: len(rows) >= len(messages))
        assert [row.seq for row in stored] == [6, 5, 4, 3, 2, 1]
    finally:
        await history.shutdown()


async def test_the_same_send_twice_has_one_place(system: Any) -> None:
    """A repeated client_msg_id, also over HTTP, is answered with its first seq and shown once."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    body = {"client_msg_id": fresh("m"), "conversation_id": talk, "kind": "text", "content": {"text": "once"}}
    async with Person(system, bob) as b, aiohttp.ClientSession() as http:
        caller = Caller(http, system.url, system.token(ann))
        answers = [await caller.post("/v1/messages", body) for _ in range(3)]
        assert [(status, answer["seq"]) for status, answer in answers] == [(200, 1)] * 3
        assert len({answer["message_id"] for _, answer in answers}) == 1
        status, rejected = await caller.post("/v1/messages", {**body, "content": {"text": "other"}})
        assert (status, rejected["code"]) == (409, 1202)
        await b.hears(talk, "once")
        assert b.texts(talk) == ["once"]


async def test_what_was_missed_comes_with_the_next_connection(system: Any) -> None:
    """Somebody who was away gets everything by sync, and what is said meanwhile exactly once."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with Person(system, ann) as a:
        for n in range(30):
            await a.say(talk, f"missed {n}")
        await a.reads(talk, 30)
        async with Person(system, bob) as b:
            await a.say(talk, "live")
            await b.hears(talk, "live")
            first = b.seqs(talk)[0]
            assert b.seqs(talk) == list(range(first, 32))
            assert first in (11, 12)  # sync brings the newest 20, the last of which may be the live one
            page = await b.client.history(talk, before_seq=first, limit=50)
            assert [m.seq for m in page.messages] == list(range(first - 1, 0, -1))


async def test_a_group_from_creation_to_leave(system: Any) -> None:
    """Members see from their join to their leave; strangers learn not even that the group exists."""
    ann, bob, cy, eve = (fresh(n) for n in ("ann", "bob", "cy", "eve"))
    async with (
        Person(system, ann) as a,
        Person(system, bob) as b,
        Person(system, cy) as c,
        Person(system, eve) as e,
    ):
        group = await a.client.create_group("Tea", [bob])
        await a.say(group, "for two")
        await a.client.add_members(group, [cy])
        await b.say(group, "for three")
        await c.hears(group, "for three")
        await a.client.remove_members(group, [bob])
        await a.say(group, "without bob")
        await c.hears(group, "without bob")
        await b.has(group, 1, 2, 3, 4, 5)
        await c.has(group, 3, 4, 5, 6)
        assert b.texts(group) == ["for two", "for three"]
        assert c.texts(group) == ["for three", "without bob"]
        for outsider, code in ((b, 1101), (e, 1103)):
            with pytest.raises(ServerRefused) as refused:
                await outsider.say(group, "let me in")
            assert refused.value.code == code
        await a.reads(group, 6)
        page = await b.client.history(group)
        assert [m.seq for m in page.messages] == [5, 4, 3, 2, 1]
        with pytest.raises(ServerRefused) as refused:
            await e.client.history(group)
        assert refused.value.code == 1103


async def test_a_large_group_is_read_not_written(system: Any) -> None:
    """Above the threshold members still see everything in order, also who connects and joins later."""
    members = [fresh("m") for _ in range(system.settings.fanout_threshold_members + 10)]
    owner, here, late = members[0], members[1], members[2]
    joiner = fresh("j")
    async with Person(system, owner) as o, Person(system, here) as h, Person(system, joiner) as j:
        group = await o.client.create_group("Crowd", members[1:])
        await o.say(group, "one")
        await h.hears(group, "one")
        async with Person(system, late) as latecomer:
            await o.say(group, "two")
            await latecomer.hears(group, "two")
            await o.client.add_members(group, [joiner])
            await o.say(group, "three")
            for person in (h, latecomer, j):
                await person.hears(group, "three")
            await o.client.remove_members(group, [joiner])
            await h.say(group, "four")
            for person in (o, latecomer):
                await person.hears(group, "four")
        await h.has(group, 1, 2, 3, 4, 5, 6, 7)
        assert j.texts(group) == ["three"]


async def test_the_rules_change_without_a_restart(system: Any) -> None:
    """A new policy rejects and masks from one moment to the next; a rejected text is seen by nobody else."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    bad, rude = fresh("bad").replace("-", ""), fresh("rude").replace("-", "")
    async with Person(system, ann) as a, Person(system, bob) as b:
        await a.say(talk, f"{bad} is fine still")
        rules = [Rule("r-bad", "abuse", "reject", [bad]), Rule("r-rude", "manners", "mask", [rude])]
        await on_bus(system.settings, lambda bus: publish_policy(bus, Policy(int(1e9), rules)))

        async def is_rejected() -> bool:
            try:
                await a.say(talk, f"so {bad.upper()} now")
            except ServerRefused as refused:
                return refused.code == 1201
            return False

        try:
            await until(is_rejected, bool)
            await a.say(talk, f"you {rude} one")
            await eventually(lambda: any("you " in text for text in b.texts(talk)))
            assert b.texts(talk)[-1] == f"you {'•' * len(rude)} one"
        finally:
            await on_bus(system.settings, lambda bus: publish_policy(bus, Policy(int(1e9) + 1, [])))


async def test_poison_costs_one_dead_letter(system: Any) -> None:
    """A record that is no Inbound goes to im.dlq with its reason, and the next message passes."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)

    async def poison(bus: KafkaBus) -> None:
        partition = bus.partition_for(talk)
        values = (b"not avro", b"", b"\x00\x00\x00\x00\x01\xff\xff")
        await bus.publish([Outgoing("im.inbound", partition, v, talk.encode()) for v in values])

    async with Person(system, ann) as a:
        await on_bus(system.settings, poison)
        assert await a.say(talk, "still here") == 1

    letters = await until(lambda: records_of(system.settings, "im.dlq", talk), lambda found: len(found) >= 3)
    assert [letter.value for letter in letters] == [b"not avro", b"", b"\x00\x00\x00\x00\x01\xff\xff"]
    reasons = dict(letters[0].headers)
    assert reasons["__streams.errors.exception"] == Undecodable.__name__.encode()
    assert reasons["im-stage"] == b"moderation"


async def test_killed_workers_lose_nothing(system: Any) -> None:
    """With both workers killed under way, every accepted message arrives once and in order."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    count = 300
    async with Person(system, ann) as a, Person(system, bob) as b:
        tickets = []
        for n in range(count):
            tickets.append(await a.client.send(talk, f"n {n}"))
            if n in (80, 160):
                await asyncio.to_thread(system.kill, "worker-1" if n == 80 else "worker-2")
            await asyncio.sleep(0.005)
        async with asyncio.timeout(RETURNS_S):
            sent = [await ticket.sent() for ticket in tickets]
        assert [s.seq for s in sent] == list(range(1, count + 1))
        await eventually(lambda: len(b.seqs(talk)) >= count, RETURNS_S)
        assert b.texts(talk) == [f"n {n}" for n in range(count)]
    await asyncio.to_thread(system.wait_ready, "worker-1")
    await asyncio.to_thread(system.wait_ready, "worker-2")


async def test_a_killed_gateway_loses_nothing(system: Any) -> None:
    """Clients of a gateway that is killed come back by themselves and miss and repeat nothing."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    count = 200
    async with Person(system, ann) as a, Person(system, bob) as b:
        tickets = []
        for n in range(count):
            tickets.append(await a.client.send(talk, f"n {n}"))
            if n == 70:
                await asyncio.to_thread(system.kill, "gw-1")
            await asyncio.sleep(0.005)
        async with asyncio.timeout(RETURNS_S):
            sent = [await ticket.sent() for ticket in tickets]
        assert [s.seq for s in sent] == list(range(1, count + 1))
        await eventually(lambda: len(b.seqs(talk)) >= count, RETURNS_S)
        assert b.texts(talk) == [f"n {n}" for n in range(count)]
