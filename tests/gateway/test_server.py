"""One gateway from outside: real sockets on 127.0.0.1, memory twins behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from infra.ports import Outgoing
from schemas.codec import OUTBOUND
from schemas.codes import Code
from schemas.errors import Refused
from schemas.records import Inbound, Outbound
from tests.gateway.path import settle
from tests.gateway.world import Person, World, a_world


async def test_a_message_goes_from_one_user_to_another(world: World) -> None:
    """`accepted`, then `sent` with a seq for the sender; a `deliver` with the same seq for the other."""
    alice, bob = await world.enter("alice"), await world.enter("bob")
    await alice.say("d:alice:bob", "hi", "m1", id=7)
    accepted, sent = await alice.expect("accepted"), await alice.expect("sent")
    deliver = await bob.expect("deliver")
    assert (accepted["client_msg_id"], accepted["re"], sent["seq"], sent["re"]) == ("m1", 7, 1, 7)
    assert deliver["n"] == 1
    assert deliver["messages"][0]["content"] == {"text": "hi"}
    assert deliver["messages"][0]["seq"] == 1
    await bob.tell(type="ack", n=1)
    await bob.tell(type="ping", id="p")
    pong = await bob.expect("pong")
    assert pong["re"] == "p"
    assert pong["heads"] == {"d:alice:bob": 1}


async def test_msgpack_says_the_same(world: World) -> None:
    """Both subprotocols meet in one conversation."""
    alice = await world.enter("alice", subprotocol="im.v1.msgpack")
    bob = await world.enter("bob", subprotocol="im.v1.json")
    await alice.say("d:alice:bob", "hi", "m1")
    assert (await alice.until("sent"))["seq"] == 1
    assert (await bob.expect("deliver"))["messages"][0]["content"] == {"text": "hi"}
    await bob.say("d:alice:bob", "ho", "m1")
    deliver = await alice.expect("deliver")
    assert (deliver["n"], deliver["messages"][0]["content"]) == (1, {"text": "ho"})


async def test_the_senders_other_devices_get_the_message_too(world: World) -> None:
    """Only the connection that sent it gets `sent` in its place."""
    phone, desk = await world.enter("alice", "device_id=phone"), await world.enter("alice", "device_id=desk")
    await phone.say("d:alice:bob", "hi", "m1")
    assert (await phone.until("sent"))["seq"] == 1
    message = (await desk.expect("deliver"))["messages"][0]
    assert (message["sender"], message["client_msg_id"]) == ("alice", "m1")


async def test_what_one_connection_sends_keeps_its_order(world: World) -> None:
    """Sent without waiting, `accepted`, `sent` and `deliver` all follow the order of sending."""
    alice, bob = await world.enter("alice"), await world.enter("bob")
    for number in range(50):
        await alice.say("d:alice:bob", "hi", f"m{number}")
    wanted = [f"m{number}" for number in range(50)]
    frames = [await alice.next() for _ in range(100)]
    for kind in ("accepted", "sent"):
        assert [f["client_msg_id"] for f in frames if f["type"] == kind] == wanted
    got: list[str] = []
    while len(got) < 50:
        got += [m["client_msg_id"] for m in (await bob.expect("deliver"))["messages"]]
    assert got == wanted


async def test_a_rejected_message_reaches_only_its_sender(world: World) -> None:
    """`accepted`, then `rejected` with the id of the request; nothing for anybody else."""

    def judge(inbound: Inbound) -> Refused | None:
        return Refused(Code.MODERATED) if "bad" in inbound.content else None

    world.path.judge = judge
    alice, bob = await world.enter("alice"), await world.enter("bob")
    await alice.say("d:alice:bob", "bad", "m1", id=1)
    await alice.expect("accepted")
    rejected = await alice.expect("rejected")
    assert (rejected["code"], rejected["client_msg_id"], rejected["re"]) == (1201, "m1", 1)
    await alice.say("d:alice:bob", "good", "m2")
    assert (await bob.expect("deliver"))["messages"][0]["seq"] == 1


# Sessions


async def test_a_cut_session_is_resumed_without_a_loss(world: World) -> None:
    """Same session, `resumed`, unacked deliveries with their old n, and those of the time between."""
    alice, bob = await world.enter("alice"), await world.enter("bob", "device_id=phone")
    await alice.say("d:alice:bob", "one", "m1")
    await bob.expect("deliver")
    bob.socket.transport.abort()
    await alice.say("d:alice:bob", "two", "m2")
    await settle(lambda: world.path._seqs["d:alice:bob"] == 2)
    again = await world.enter("bob", f"device_id=phone&session_id={bob.welcome['session_id']}")
    assert again.welcome["resumed"] is True
    assert again.welcome["session_id"] == bob.welcome["session_id"]
    first, second = await again.expect("deliver"), await again.expect("deliver")
    assert [(f["n"], f["messages"][0]["content"]["text"]) for f in (first, second)] == [
        (1, "one"),
        (2, "two"),
    ]


async def test_a_session_of_somebody_else_is_not_resumed(world: World) -> None:
    """Neither by another user nor by another device; they get sessions of their own."""
    bob = await world.enter("bob", "device_id=phone")
    session_id = bob.welcome["session_id"]
    for user, device in (("eve", "phone"), ("bob", "desk")):
        other = await world.enter(user, f"device_id={device}&session_id={session_id}")
        assert other.welcome["resumed"] is False
        assert other.welcome["session_id"] != session_id
    await bob.tell(type="ping")
    await bob.expect("pong")


async def test_a_newer_connection_of_a_device_replaces_the_older(world: World) -> None:
    """4502 for the older; other devices are left alone."""
    desk, old = await world.enter("bob", "device_id=desk"), await world.enter("bob", "device_id=phone")
    new = await world.enter("bob", "device_id=phone")
    assert await old.closed() == 4502
    for person in (desk, new):
        await person.tell(type="ping")
        await person.expect("pong")


async def test_a_resume_takes_the_session_from_a_socket_that_is_still_held(world: World) -> None:
    """The old socket gets 4502, the session goes on with the new one."""
    old = await world.enter("bob", "device_id=phone")
    new = await world.enter("bob", f"device_id=phone&session_id={old.welcome['session_id']}")
    assert new.welcome["resumed"] is True
    assert await old.closed() == 4502
    alice = await world.enter("alice")
    await alice.say("d:alice:bob", "hi", "m1")
    await new.expect("deliver")


async def test_a_device_that_moves_to_another_gateway_is_closed_here(world: World) -> None:
    """The new gateway tells the old one through its topic."""
    other = world.another("gw-2")
    await other.startup(port=0)
    old = await world.enter("bob", "device_id=phone")
    new = await world.enter("bob", "device_id=phone", gateway=other)
    assert await old.closed() == 4502
    alice = await world.enter("alice")
    await alice.say("d:alice:bob", "hi", "m1")
    await new.expect("deliver")
    await new.socket.close()
    await other.shutdown()


async def test_a_user_has_a_bounded_number_of_devices(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more, and the one that was there longest is closed with 4502 instead of hearing nothing more."""
    monkeypatch.setattr("infra.memory.routes.MAX_DEVICES", 2)
    devices = []
    for number in range(3):
        devices.append(await world.enter("bob", f"device_id=d{number}"))
        await asyncio.sleep(0.002)  # they stand apart in milliseconds
    assert await devices[0].closed() == 4502
    for person in devices[1:]:
        await person.tell(type="ping")
        await person.expect("pong")


async def test_who_says_goodbye_leaves_nothing(world: World) -> None:
    """A clean close ends session and route at once."""
    bob = await world.enter("bob")
    await bob.socket.close()
    await settle(lambda: not world.gateway.hub.sessions)

    async def is_gone() -> bool:
        return not await world.routes.routes_of(["bob"])

    await settle(is_gone)


async def test_routes_come_back_after_the_table_was_lost() -> None:
    """The lease is missed at the next renewal, and every route is attached again."""
    async with a_world(lease_s=0.3) as world:
        alice, bob = await world.enter("alice"), await world.enter("bob")
        world.routes.flush()

        async def is_back() -> bool:
            return bool(await world.routes.routes_of(["bob"]))

        await settle(is_back)
        await alice.say("d:alice:bob", "hi", "m1")
        await bob.expect("deliver")


# Groups


async def made_group(world: World, *people: Person) -> str:
    """alice makes a group of bob; both see the event that made it, alice before her `ok`."""
    alice = people[0]
    await alice.tell(type="group.create", id="g", name="Team", members=["bob"], group_id="team")
    for person in people:
        event = (await person.expect("deliver"))["messages"][0]
        assert (event["kind"], event["seq"], event["content"]["action"]) == ("group", 1, "created")
    ok = await alice.expect("ok")
    assert (ok["re"], ok["conversation_id"]) == ("g", "g:team")
    return "g:team"


@pytest.mark.parametrize("large", [False, True])
async def test_members_see_a_group_from_join_to_leave(world: World, large: bool) -> None:
    """The join and the leave included, nothing after; by targets and by the gateway's own index."""
    world.path.large = large
    alice, bob, carol = [await world.enter(user) for user in ("alice", "bob", "carol")]
    group = await made_group(world, alice, bob)
    await alice.say(group, "before", "m1")
    await bob.expect("deliver")
    await alice.tell(type="group.add", id=1, conversation_id=group, members=["carol"])
    joined = (await carol.expect("deliver"))["messages"][0]
    assert (joined["kind"], joined["content"]["users"]) == ("member", ["carol"])
    await alice.until("ok")
    await alice.say(group, "hello carol", "m2")
    assert (await carol.expect("deliver"))["messages"][0]["content"] == {"text": "hello carol"}
    await alice.tell(type="group.remove", id=2, conversation_id=group, members=["carol"])
    removed = (await carol.expect("deliver"))["messages"][0]
    assert removed["content"]["action"] == "removed"
    await alice.until("ok")
    await alice.say(group, "after", "m3")
    await bob.until("deliver")
    await settle(lambda: world.path._seqs[group] == 6)
    await carol.tell(type="ping")
    assert (await carol.next())["type"] == "pong"


async def test_a_member_of_a_large_group_who_connects_later_is_indexed(world: World) -> None:
    """The route table names his large conversations when he is attached."""
    world.path.large = True
    alice, bob = await world.enter("alice"), await world.enter("bob")
    group = await made_group(world, alice, bob)
    await bob.socket.close()
    await settle(lambda: len(world.gateway.hub.sessions) == 1)
    bob = await world.enter("bob")
    await alice.say(group, "hi", "m1")
    assert (await bob.expect("deliver"))["messages"][0]["content"] == {"text": "hi"}


async def test_a_group_request_that_is_refused_gets_an_error(world: World) -> None:
    """With the code of moderation and the id of the request."""
    world.path.judge = lambda inbound: Refused(Code.NOT_ALLOWED) if inbound.kind == "member" else None
    alice = await world.enter("alice")
    await alice.tell(type="group.remove", id="x", conversation_id="g:team", members=["bob"])
    error = await alice.expect("error")
    assert (error["re"], error["code"], error["name"]) == ("x", 1102, "not_allowed")


async def test_members_are_listed_for_members_only(world: World) -> None:
    """A stranger is told that there is no such conversation."""
    alice, bob = await world.enter("alice"), await world.enter("bob")
    eve = await world.enter("eve")
    group = await made_group(world, alice, bob)
    await bob.tell(type="group.members", id=1, conversation_id=group)
    ok = await bob.expect("ok")
    assert ok["members"] == [{"user_id": "alice", "role": "owner"}, {"user_id": "bob", "role": "member"}]
    await bob.tell(type="group.info", id=2, conversation_id=group)
    info = await bob.expect("ok")
    assert (info["name"], info["member_count"]) == ("Team", 2)
    for request in ("group.info", "group.members", "history", "read", "typing", "conversation.mute"):
        await eve.tell(type=request, id=3, conversation_id=group, seq=1, active=True)
        assert (await eve.expect("error"))["code"] == 1103


# Channels


async def made_channel(world: World, *members: str) -> tuple[Person, str]:
    """ops, of the role server, makes a channel."""
    ops = await world.enter("ops", role="server")
    channel = {"kind": "channel", "group_id": "news", "name": "News", "members": list(members)}
    await ops.tell(type="group.create", id=1, **channel)
    return ops, (await ops.until("ok"))["conversation_id"]


async def test_anybody_joins_a_channel_and_leaves_it(world: World) -> None:
    """From the join to the leave its messages come, as from a large group."""
    world.path.large = True
    ops, channel = await made_channel(world)
    bob = await world.enter("bob")
    await bob.tell(type="channel.join", id="j", conversation_id=channel)
    joined = (await bob.expect("deliver"))["messages"][0]
    assert (joined["kind"], joined["content"]["action"]) == ("member", "joined")
    assert (await bob.expect("ok"))["re"] == "j"
    await ops.say(channel, "news", "m1")
    assert (await bob.expect("deliver"))["messages"][0]["content"] == {"text": "news"}
    await bob.tell(type="channel.leave", id="l", conversation_id=channel)
    assert (await bob.until("ok"))["re"] == "l"
    await ops.say(channel, "more", "m2")
    await settle(lambda: world.path._seqs[channel] == 5)
    await bob.tell(type="ping")
    await bob.expect("pong")


async def test_a_channel_is_made_by_the_service_only(world: World) -> None:
    """1102 for anybody else; and a channel is no group, nor the other way round."""
    alice = await world.enter("alice")
    asks: list[tuple[dict[str, Any], int]] = [
        ({"type": "group.create", "name": "News", "members": [], "kind": "channel"}, 1102),
        ({"type": "channel.join", "conversation_id": "g:tea"}, 1001),
        ({"type": "channel.leave", "conversation_id": "d:alice:bob"}, 1001),
        ({"type": "group.leave", "conversation_id": "d:alice:bob"}, 1001),
    ]
    for frame, code in asks:
        await alice.tell(id=7, **frame)
        error = await alice.expect("error")
        assert (error["code"], error["re"]) == (code, 7)


# What is ephemeral, and the rest


async def test_typing_is_told_to_the_other_and_not_to_oneself(world: World) -> None:
    """As an ephemeral frame."""
    alice, bob = await world.enter("alice"), await world.enter("bob")
    await alice.tell(type="typing", conversation_id="d:alice:bob", active=True)
    typing = await bob.expect("typing")
    assert (typing["conversation_id"], typing["user_id"], typing["active"]) == ("d:alice:bob", "alice", True)
    await alice.tell(type="ping")
    await alice.expect("pong")


async def test_records_that_cannot_be_read_disturb_nobody(world: World) -> None:
    """Wrong bytes in the gateway's topic are counted and passed over."""
    alice, bob = await world.enter("alice"), await world.enter("bob")
    bad = [b"", b"nonsense", OUTBOUND.encode(Outbound("message", b"?", ["bob"]))]
    bad += [OUTBOUND.encode(Outbound(kind, b"?", ["bob"])) for kind in ("frame", "close")]
    bad.append(OUTBOUND.encode(Outbound("close", b'{"code":99}', ["bob"])))
    await world.bus.publish([Outgoing("im.outbound.gw-1", 0, value) for value in bad])
    await alice.say("d:alice:bob", "hi", "m1")
    await bob.expect("deliver")
    assert world.gateway.metrics.undecodable._value.get() >= 5


async def test_a_repeated_outbound_is_dropped(world: World) -> None:
    """Source offsets rise strictly; a step back is a repeat."""
    alice, bob = await world.enter("alice"), await world.enter("bob")
    await alice.say("d:alice:bob", "one", "m1")
    first = await bob.expect("deliver")
    record = world.bus.records("im.outbound.gw-1")[-1]
    await world.bus.publish([Outgoing("im.outbound.gw-1", 0, record.value)] * 2)
    await alice.say("d:alice:bob", "two", "m2")
    second = await bob.expect("deliver")
    assert (first["n"], second["n"], second["messages"][0]["seq"]) == (1, 2, 2)


async def test_a_drained_gateway_lets_its_clients_go() -> None:
    """`drain`, everything accepted answered, then 4000; the lease is given up."""
    async with a_world() as world:
        alice = await world.enter("alice")
        await alice.say("d:alice:bob", "hi", "m1")
        await world.gateway.drain()
        assert not world.gateway.health.ready
        kinds = [(await alice.next())["type"] for _ in range(3)]
        assert sorted(kinds) == ["accepted", "drain", "sent"]
        assert await alice.closed() == 4000
        await world.gateway.shutdown()
        assert await world.routes.live_gateways() == {}


async def test_a_frame_that_has_no_id_is_answered_by_the_one_that_was_sent(world: World) -> None:
    """`ack` needs none, and keeps none; whoever gives it one finds it in the error."""
    alice = await world.enter("alice")
    await alice.tell(type="ack", n=7, id="x")
    error = await alice.expect("error")
    assert (error["code"], error["re"]) == (1001, "x")
