"""This gateway's place in the route table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from gateway.comings import Comings
from gateway.hub import Hub
from gateway.metrics import Metrics
from gateway.presence import Presence
from gateway.session import Session
from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.routes import MemoryRouteTable
from infra.ports import Attached, GatewayNotice, Outgoing, Route
from schemas.codec import OUTBOUND
from schemas.codes import CloseCode
from schemas.errors import Unavailable
from schemas.records import Outbound
from tests.builders import a_message, framed
from tests.gateway.makers import a_session, opened, written
from tests.gateway.path import settle


class Table(MemoryRouteTable):
    """A route table that counts its calls, and can be away."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.calls: list[int] = []
        self.away = False
        self.answers_to_lose = 0

    async def take_lease(
        self, gateway_id: str, boot_id: str, ttl_s: float, notice: GatewayNotice | None = None
    ) -> None:
        await super().take_lease(gateway_id, boot_id, ttl_s, notice)
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            raise Unavailable("lost")

    async def attach(self, routes: Sequence[tuple[str, Route]]) -> list[Attached]:
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("away")
        self.calls.append(len(routes))
        return await super().attach(routes)

    async def detach(self, routes: Sequence[tuple[str, Route]]) -> None:
        if self.away:
            raise Unavailable("away")
        await super().detach(routes)


class Place:
    """A hub and its presence, without a gateway around them."""

    def __init__(self, table: Table, bus: MemoryBus, gateway_id: str = "gw-1", lease_s: float = 6.0) -> None:
        self.hub = Hub(Metrics())
        comings = Comings(bus, table, ManualClock(), gateway_id)
        self.presence = Presence(
            table,
            bus,
            self.hub,
            comings,
            ManualClock(),
            gateway_id,
            f"boot-{gateway_id}",
            lease_s,
            lambda: GatewayNotice(gateway_id, "ws://x/v1/ws", "", "open", 1, 0, 1),
            lambda: None,
        )

    def session(self, user: str, session_id: str, device_id: str = "phone") -> Session:
        session = opened(a_session(user, session_id, touched=self.hub.touched))
        session.device_id = device_id
        self.hub.add(session)
        return session


async def a_place(table: Table | None = None) -> tuple[Place, Table, MemoryBus]:
    table, bus = table or Table(), MemoryBus(1, ManualClock())
    place = Place(table, bus)
    await place.presence.startup()
    return place, table, bus


async def test_a_lease_is_taken_though_answers_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that starts on a busy machine does not end because of one slow answer."""
    monkeypatch.setattr("infra.tries.STARTUP_PAUSE_S", 0.0)
    table = Table()
    table.answers_to_lose = 2
    await Place(table, MemoryBus(1, ManualClock())).presence.startup()
    assert "gw-1" in await table.live_gateways()


async def test_sessions_of_one_turn_are_attached_in_one_call() -> None:
    """A connect storm costs few calls, and everybody is found afterwards."""
    place, table, _ = await a_place()
    sessions = [place.session(f"u{i}", f"s{i}") for i in range(50)]
    await asyncio.gather(*(place.presence.attach(s) for s in sessions))
    assert table.calls == [50]
    assert len(await table.routes_of([s.user_id for s in sessions])) == 50


async def test_a_session_that_cannot_be_registered_says_so() -> None:
    """And the next one is registered again."""
    place, table, _ = await a_place()
    table.away = True
    with pytest.raises(Unavailable):
        await place.presence.attach(place.session("bob", "s1"))
    table.away = False
    await place.presence.attach(place.session("carol", "s2"))


async def test_a_route_is_removed_even_if_the_table_is_away_for_a_while() -> None:
    """Again and again, until it is gone; a newer route of the device stays."""
    place, table, _ = await a_place()
    old = place.session("bob", "s1")
    await place.presence.attach(old)
    table.away = True
    place.hub.remove(old)
    place.presence.detach(old)
    await asyncio.sleep(0)
    table.away = False
    new = place.session("bob", "s2")
    await place.presence.attach(new)

    async def only_the_new_one() -> bool:
        routes = (await table.routes_of(["bob"])).get("bob", [])
        return [r.session_id for r in routes] == ["s2"]

    await settle(only_the_new_one)
    assert place.hub.sessions == {"s2": new}


async def test_a_session_that_ended_while_it_was_attached_leaves_no_route() -> None:
    """Its removal may reach the table before its registration."""
    place, table, _ = await a_place()
    session = place.session("bob", "s1")
    attaching = asyncio.create_task(place.presence.attach(session))
    await asyncio.sleep(0)
    place.hub.remove(session)
    await attaching

    async def is_gone() -> bool:
        return not await table.routes_of(["bob"])

    await settle(is_gone)


async def test_a_replaced_device_is_closed_where_it_is() -> None:
    """Here by the hub, elsewhere by an order in that gateway's topic."""
    place, table, bus = await a_place()
    other = Place(table, bus, "gw-2")
    await other.presence.startup()
    first = place.session("bob", "s1")
    await place.presence.attach(first)
    second = place.session("bob", "s2")
    await place.presence.attach(second)
    assert first.closing is CloseCode.REPLACED
    await other.presence.attach(other.session("bob", "s3"))
    await settle(lambda: bool(bus.records("im.outbound.gw-1")))
    (record,) = bus.records("im.outbound.gw-1")
    order = OUTBOUND.decode(record.value)
    assert (order.kind, order.users, order.session_id) == ("close", ["bob"], "s2")
    place.hub.dispatch([order], 0.0)
    assert second.closing is CloseCode.REPLACED


async def test_a_gateway_that_slept_takes_no_device_from_its_newer_connection() -> None:
    """Without its lease it attaches all again; whose device went elsewhere is closed here, not there."""
    table, bus = Table(), MemoryBus(1, ManualClock())
    slept, other = Place(table, bus, "gw-1", lease_s=0.03), Place(table, bus, "gw-2")
    for place in (slept, other):
        await place.presence.startup()
    old, kept = slept.session("bob", "s1"), slept.session("carol", "s2")
    for session in (old, kept):
        await slept.presence.attach(session)
    await table.drop_lease("gw-1", "boot-gw-1")
    newer = other.session("bob", "s3")
    newer.since_ms = old.since_ms + 1
    await other.presence.attach(newer)
    running = asyncio.create_task(slept.presence.run())
    await settle(lambda: old.closing is CloseCode.REPLACED)
    routes = await table.routes_of(["bob", "carol"])
    running.cancel()
    assert [route.session_id for route in routes["bob"]] == ["s3"]
    assert bus.records("im.outbound.gw-2") == []
    assert kept.closing is None


async def test_the_large_conversations_of_a_user_are_indexed_with_the_route() -> None:
    """And the table learns that this gateway holds a member."""
    place, table, _ = await a_place()
    await table.fill_readers("g:big", {"bob": 3, "carol": 1})
    await place.presence.attach(place.session("bob", "s1"))
    assert place.hub.readers.of("g:big") == {"bob": 3}
    assert await table.readers("g:big") == ("gw-1",)


def large(seq: int, users: Sequence[str] = (), action: str = "") -> Outbound:
    """A record of a large conversation for every gateway that holds a member: a text, or an event."""
    content = f'{{"action":"{action}","by":"alice","users":["bob"]}}' if action else "1"
    kind = "member" if action else "text"
    message = a_message(seq, seq, conversation_id="g:big", kind=kind, content=content, session_id="elsewhere")
    return Outbound("message", framed(message), list(users), 0, seq, expand=True)


def seqs(session: Session) -> list[int]:
    """What was delivered, in order."""
    frames = (f for f in written(session) if f["type"] == "deliver")
    return [message["seq"] for frame in frames for message in frame["messages"]]


async def test_who_comes_back_to_a_large_group_sees_nothing_from_before() -> None:
    """Fan-out tells the table of his join before its own batch, and this gateway may be far behind."""
    place, table, _ = await a_place()
    await table.fill_readers("g:big", {"bob": 1})
    await table.leave_readers("g:big", ["bob"], 252)
    await table.join_readers("g:big", ["bob"], 306)
    session = place.session("bob", "s1")
    await place.presence.attach(session)
    place.hub.dispatch([large(seq) for seq in range(301, 306)], 0.0)
    assert seqs(session) == []
    place.hub.dispatch([large(306, ["bob"], "joined"), large(307)], 0.0)
    assert seqs(session) == [306, 307]


class Overtaken(Table):
    """A table whose answer to an attach comes after something else has."""

    def __init__(self) -> None:
        super().__init__()
        self.overtake: Callable[[], None] = lambda: None

    async def attach(self, routes: Sequence[tuple[str, Route]]) -> list[Attached]:
        answers = await super().attach(routes)
        self.overtake()
        return answers


async def test_a_leave_that_overtakes_the_table_s_answer_counts() -> None:
    """He was inside when the table was asked; he is out when it has answered. Unless he is back by then."""
    table = Overtaken()
    place, _, _ = await a_place(table)
    await table.fill_readers("g:big", {"bob": 1})
    session = place.session("bob", "s1")
    table.overtake = lambda: place.hub.dispatch([large(9, ["bob"], "left")], 0.0)
    await place.presence.attach(session)
    place.hub.dispatch([large(10)], 0.0)
    assert seqs(session) == [9]
    await table.leave_readers("g:big", ["bob"], 9)
    await table.join_readers("g:big", ["bob"], 11)
    await place.presence.attach(session)
    place.hub.dispatch([large(10), large(12)], 0.0)
    assert seqs(session) == [9, 12]


async def test_a_leave_while_the_table_had_lost_this_gateway_counts() -> None:
    """It came to nobody here; so from the moment the lease is taken again only who still reads does."""
    place, table, _ = await a_place()
    await table.fill_readers("g:big", {"bob": 1, "carol": 1})
    bob, carol = place.session("bob", "s1"), place.session("carol", "s2")
    for session in (bob, carol):
        await place.presence.attach(session)
    table.flush()
    await table.fill_readers("g:big", {"bob": 1, "carol": 1})
    assert await table.leave_readers("g:big", ["bob"], 9) == ()
    await place.presence.announce()
    place.hub.dispatch([large(10)], 0.0)
    assert seqs(bob) == seqs(carol) == []
    await place.presence._attach_all()
    place.hub.dispatch([large(11)], 0.0)
    assert (seqs(bob), seqs(carol)) == ([], [11])


async def test_an_answer_from_before_the_loss_counts_no_more() -> None:
    """He was inside when the table was asked; since then it was lost, and nobody heard of his leave."""
    table = Overtaken()
    place, _, _ = await a_place(table)
    await table.fill_readers("g:big", {"bob": 1})
    session = place.session("bob", "s1")
    table.overtake = place.hub.readers.clear
    await place.presence.attach(session)
    place.hub.dispatch([large(10)], 0.0)
    assert seqs(session) == []


async def test_without_its_lease_a_gateway_is_gone() -> None:
    """Every route is void at once."""
    place, table, _ = await a_place()
    await place.presence.attach(place.session("bob", "s1"))
    assert place.presence.lease_held
    await place.presence.shutdown()
    assert not place.presence.lease_held
    assert await table.routes_of(["bob"]) == {}


async def test_a_route_that_is_attached_again_gives_way_to_a_newer_one() -> None:
    """A gateway that lost its lease closes its stale session, and not the one its user has elsewhere now."""
    place, table, bus = await a_place()
    elsewhere = Place(table, bus, "gw-2")
    await elsewhere.presence.startup()
    stale, live = place.session("alice", "s1"), elsewhere.session("alice", "s2")
    stale.since_ms, live.since_ms = 1, 2
    await place.presence.attach(stale)
    await elsewhere.presence.attach(live)
    await place.presence._attach_all()
    assert stale.closing is CloseCode.REPLACED
    assert bus.records("im.outbound.gw-2") == []
    assert [route.session_id for route in (await table.routes_of(["alice"]))["alice"]] == ["s2"]


@pytest.mark.parametrize(("later_ms", "closed"), [(5_000, "stale"), (1_000, "other")])
async def test_a_route_that_comes_late_gives_way_to_a_newer_one(later_ms: int, closed: str) -> None:
    """As when its gateway stood still before the call; clocks that are a little apart are no reason."""
    place, table, bus = await a_place()
    elsewhere = Place(table, bus, "gw-2")
    await elsewhere.presence.startup()
    stale, other = place.session("alice", "s1"), elsewhere.session("alice", "s2")
    stale.since_ms, other.since_ms = 10_000, 10_000 + later_ms
    await elsewhere.presence.attach(other)
    await place.presence.attach(stale)
    routes = (await table.routes_of(["alice"]))["alice"]
    assert (stale.closing is CloseCode.REPLACED) == (closed == "stale")
    assert len(bus.records("im.outbound.gw-2")) == (closed == "other")
    assert [route.session_id for route in routes] == ["s2" if closed == "stale" else "s1"]


async def test_a_late_order_spares_who_came_back_since() -> None:
    """A device that tried another gateway while the log was away, and resumed here, is not sent away."""
    place, table, bus = await a_place()
    other = Place(table, bus, "gw-2")
    await other.presence.startup()
    session = place.session("bob", "s1")
    session.since_ms = 1
    await place.presence.attach(session)
    tried = other.session("bob", "s2")
    await other.presence.attach(tried)
    await settle(lambda: bool(bus.records("im.outbound.gw-1")))
    session.since_ms = 2
    place.presence.came_back(session)
    await settle(lambda: bool(bus.records("im.outbound.gw-2")))
    place.hub.dispatch([OUTBOUND.decode(record.value) for record in bus.records("im.outbound.gw-1")], 0.0)
    other.hub.dispatch([OUTBOUND.decode(record.value) for record in bus.records("im.outbound.gw-2")], 0.0)
    assert session.closing is None
    assert tried.closing is CloseCode.REPLACED
    assert [route.session_id for route in (await table.routes_of(["bob"]))["bob"]] == ["s1"]
    assert session.progress.lost_at_ms == ManualClock().now_ms()


async def test_who_comes_back_while_the_table_is_away_is_attached_later() -> None:
    """The connection does not wait for it."""
    table, bus = Table(), MemoryBus(1, ManualClock())
    place = Place(table, bus, lease_s=0.03)
    await place.presence.startup()
    table.away = True
    place.presence.came_back(place.session("bob", "s1"))
    await settle(lambda: place.presence._complete is False)
    table.away = False
    running = asyncio.create_task(place.presence.run())

    async def is_there() -> bool:
        return bool(await table.routes_of(["bob"]))

    await settle(is_there)
    running.cancel()


class MuteBus(MemoryBus):
    """A log that is away."""

    async def publish(self, records: Sequence[Outgoing]) -> None:
        raise Unavailable(f"{len(records)} records wait")


async def test_who_comes_in_waits_for_no_order() -> None:
    """Closing the older connection may take as long as the log is away."""
    table, bus = Table(), MuteBus(1, ManualClock())
    place, other = Place(table, bus), Place(table, bus, "gw-2")
    for each in (place, other):
        await each.presence.startup()
    await place.presence.attach(place.session("bob", "s1"))
    async with asyncio.timeout(10):
        await other.presence.attach(other.session("bob", "s2"))
    assert [route.session_id for route in (await table.routes_of(["bob"]))["bob"]] == ["s2"]
    await other.presence.shutdown()
