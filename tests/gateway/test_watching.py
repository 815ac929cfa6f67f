"""gateway/watching.py and gateway/comings.py, through a gateway."""

from __future__ import annotations

import pytest

from gateway import watching
from gateway.comings import MAX_WAITING, Comings
from gateway.watchers import MAX_WATCHED
from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.routes import MemoryRouteTable
from schemas.codec import PRESENCE
from schemas.topics import PRESENCE as PRESENCE_TOPIC
from tests.gateway.makers import a_session
from tests.gateway.path import settle
from tests.gateway.world import Person, World, a_world


async def subscribed(watcher: Person, *user_ids: str) -> list[dict[str, object]]:
    """What `ok` says of these users."""
    await watcher.tell(type="presence.subscribe", id=1, user_ids=list(user_ids))
    ok = await watcher.until("ok")
    return [{k: v for k, v in one.items() if k not in ("type", "last_seen_ms")} for one in ok["presence"]]


def seen(frame: dict[str, object]) -> tuple[object, ...]:
    return frame["user_id"], frame["online"], frame["platforms"]


async def test_a_watcher_hears_of_comings_and_goings(world: World) -> None:
    """`ok` says how it is now, frames what changes: by platforms, and when the user was last seen."""
    alice = await world.enter("alice")
    assert await subscribed(alice, "bob") == [{"user_id": "bob", "online": False, "platforms": []}]
    phone = await world.enter("bob", "device_id=phone&platform=ios")
    assert seen(await alice.expect("presence")) == ("bob", True, ["ios"])
    desk = await world.enter("bob", "device_id=desk&platform=desktop")
    assert seen(await alice.expect("presence")) == ("bob", True, ["desktop", "ios"])
    await phone.socket.close()
    assert seen(await alice.expect("presence")) == ("bob", True, ["desktop"])
    await desk.socket.close()
    gone = await alice.expect("presence")
    assert seen(gone) == ("bob", False, [])
    assert abs(gone["last_seen_ms"] - world.clock.now_ms()) < 60_000


async def test_who_does_not_watch_hears_nothing(world: World) -> None:
    """Neither who never asked, nor who asked no longer."""
    alice, eve = await world.enter("alice"), await world.enter("eve")
    await subscribed(alice, "bob", "carol")
    await alice.tell(type="presence.unsubscribe", id=2, user_ids=["bob"])
    assert (await alice.expect("ok"))["presence"] == []
    await world.enter("bob")
    await world.enter("carol")
    assert seen(await alice.expect("presence")) == ("carol", True, ["web"])
    await eve.tell(type="ping")
    await eve.expect("pong")


async def test_it_works_across_gateways(world: World) -> None:
    """The gateway of the one who comes tells the gateway of the one who watches."""
    other = world.another("gw-2")
    await other.startup(port=0)
    alice = await world.enter("alice", gateway=other)
    await subscribed(alice, "bob")
    bob = await world.enter("bob")
    assert seen(await alice.expect("presence")) == ("bob", True, ["web"])
    await bob.socket.close()
    assert seen(await alice.expect("presence")) == ("bob", False, [])
    await alice.socket.close()
    await other.shutdown()


async def test_a_gateway_that_dies_takes_its_users_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tells of them: the lease that is missing does."""
    monkeypatch.setattr(watching, "_LOOK_S", 0.05)
    async with a_world() as here:
        alice = await here.enter("alice")
        await here.routes.take_lease("gw-9", "boot", 60.0)
        other = here.another("gw-2")
        await other.startup(port=0)
        await here.enter("bob", gateway=other)
        assert (await subscribed(alice, "bob"))[0]["online"] is True
        await here.routes.drop_lease("gw-2", (await here.routes.live_gateways())["gw-2"])
        assert seen(await alice.expect("presence")) == ("bob", False, [])
        await other.shutdown()


async def test_a_watcher_who_resumes_is_told_anew(world: World) -> None:
    """What changed while he was cut off is not lost on him."""
    alice = await world.enter("alice", "device_id=phone")
    await subscribed(alice, "bob")
    alice.socket.transport.abort()
    await settle(lambda: not alice.socket.close_code or True)
    await world.enter("bob")
    known = world.gateway.parts.watching._known
    await settle(lambda: known["bob"].online)
    again = await world.enter("alice", f"device_id=phone&session_id={alice.welcome['session_id']}")
    assert seen(await again.expect("presence")) == ("bob", True, ["web"])


async def test_to_who_is_blocked_one_is_never_there(world: World) -> None:
    """The answer is that of a user who never was; the other direction is open."""
    alice, bob = await world.enter("alice"), await world.enter("bob")
    await bob.tell(type="conversation.block", id=1, conversation_id="d:alice:bob")
    await bob.until("ok")
    assert await subscribed(alice, "bob") == [{"user_id": "bob", "online": False, "platforms": []}]
    assert (await subscribed(bob, "alice"))[0]["online"] is True
    assert "bob" not in world.gateway.hub.watchers


async def test_too_many_are_refused(world: World) -> None:
    """1102, and the session watches nobody more than before."""
    alice = await world.enter("alice")
    await alice.tell(type="presence.subscribe", id=1, user_ids=[f"u{i}" for i in range(MAX_WATCHED + 1)])
    error = await alice.expect("error")
    assert (error["code"], error["re"]) == (1102, 1)
    assert world.gateway.hub.watchers.users() == []


async def test_a_session_that_ends_watches_nobody(world: World) -> None:
    """Its entries go with it."""
    alice = await world.enter("alice")
    await subscribed(alice, "bob")
    await alice.socket.close()
    await settle(lambda: not world.gateway.hub.watchers.users())


async def test_every_change_is_on_the_public_topic(world: World) -> None:
    """With the key of the user: device, platform, gateway, session and time."""
    bob = await world.enter("bob", "device_id=phone&platform=ios")
    await bob.socket.close()

    def changes() -> list[tuple[str, str, str, bool]]:
        records = world.bus.records(PRESENCE_TOPIC, world.bus.partition_for("bob"))
        assert all(record.key == b"bob" for record in records)
        read = [PRESENCE.decode(record.value) for record in records]
        return [(c.device_id, c.platform, c.gateway_id, c.online) for c in read]

    await settle(lambda: len(changes()) == 2)
    assert changes() == [("phone", "ios", "gw-1", True), ("phone", "ios", "gw-1", False)]


async def test_what_waits_to_be_told_is_bounded() -> None:
    """The oldest are dropped."""
    clock = ManualClock()
    bus = MemoryBus(1, clock)
    comings = Comings(bus, MemoryRouteTable(clock), clock, "gw-1")
    session = a_session()
    for _ in range(MAX_WAITING + 10):
        comings.came(session)
    await comings.flush()
    assert len(bus.records(PRESENCE_TOPIC)) == MAX_WAITING
