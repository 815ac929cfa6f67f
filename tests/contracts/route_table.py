"""What `ports.RouteTable` promises, as checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from infra.ports import Announced, GatewayNotice, Head, Route, RouteTable
from infra.routes import MAX_DEVICES, MAX_INBOX, MAX_PULSE, STOPPED_KEPT_S
from schemas.ids import new_name

__all__ = ["CHECKS", "Check", "Elapse"]

Elapse = Callable[[float], Awaitable[None]]
"""Lets so many seconds pass: leases run out, and what was remembered of them grows old."""
Check = Callable[[RouteTable, Elapse], Awaitable[None]]

LONG_S: Final = 60.0
SHORT_S: Final = 0.05


def a_name(kind: str) -> str:
    return f"{kind}-{new_name()}"


def a_route(gateway_id: str, boot_id: str = "boot-1", **fields: str) -> Route:
    since_ms = int(fields.get("since_ms", "1"))
    return Route(
        fields.get("device_id", "phone"),
        gateway_id,
        boot_id,
        fields.get("session_id", a_name("s")),
        "web",
        since_ms,
    )


def a_notice(gateway_id: str, weight: int = 7) -> GatewayNotice:
    return GatewayNotice(gateway_id, f"ws://{gateway_id}/v1/ws", "north", "open", weight, 5, 100, 2**33, 4)


async def a_gateway(table: RouteTable) -> str:
    gateway_id = a_name("gw")
    await table.take_lease(gateway_id, "boot-1", LONG_S)
    return gateway_id


async def check_a_lease_is_taken_once_and_then_held(table: RouteTable, elapse: Elapse) -> None:
    gateway_id = a_name("gw")
    assert not await table.renew_lease(gateway_id, "boot-1", LONG_S)
    assert gateway_id not in await table.live_gateways()
    await table.take_lease(gateway_id, "boot-1", LONG_S)
    assert await table.renew_lease(gateway_id, "boot-1", LONG_S)
    assert (await table.live_gateways())[gateway_id] == "boot-1"


async def check_a_notice_lives_with_its_lease(table: RouteTable, elapse: Elapse) -> None:
    lasting, brief, silent = a_notice(a_name("gw")), a_notice(a_name("gw")), a_name("gw")
    await table.take_lease(silent, "boot-1", LONG_S)
    await table.take_lease(lasting.gateway_id, "boot-1", LONG_S, a_notice(lasting.gateway_id, weight=3))
    await table.renew_lease(lasting.gateway_id, "boot-1", LONG_S, lasting)
    await table.take_lease(brief.gateway_id, "boot-1", SHORT_S, brief)
    await elapse(2 * SHORT_S)
    ours = {lasting.gateway_id, brief.gateway_id, silent}
    assert [n for n in await table.gateways() if n.gateway_id in ours] == [lasting]
    await table.drop_lease(lasting.gateway_id, "boot-1")
    assert not [n for n in await table.gateways() if n.gateway_id in ours]


async def check_watchers_are_live_gateways(table: RouteTable, elapse: Elapse) -> None:
    first, second = sorted([await a_gateway(table), await a_gateway(table)])
    watched, unwatched = a_name("u"), a_name("u")
    await table.watch([watched, a_name("u")], first)
    await table.watch([watched], second)
    await table.watch([watched], a_name("gw"))
    assert await table.note_seen([watched, unwatched], 1) == {watched: (first, second)}
    await table.drop_lease(second, "boot-1")
    assert await table.note_seen([watched, unwatched], 1) == {watched: (first,)}


async def check_the_last_sight_of_a_user_is_kept(table: RouteTable, elapse: Elapse) -> None:
    user_id, other = a_name("u"), a_name("u")
    assert await table.note_seen([user_id], 20) == {}
    await table.note_seen([user_id, other], 10)
    assert await table.last_seen([user_id, other, a_name("u")]) == {user_id: 20, other: 10}


async def check_a_new_boot_takes_the_lease_over(table: RouteTable, elapse: Elapse) -> None:
    gateway_id, user_id = await a_gateway(table), a_name("u")
    await table.attach([(user_id, a_route(gateway_id))])
    await table.take_lease(gateway_id, "boot-2", LONG_S)
    assert not await table.renew_lease(gateway_id, "boot-1", LONG_S)
    assert (await table.live_gateways())[gateway_id] == "boot-2"
    assert await table.routes_of([user_id]) == {}


async def check_routes_are_void_when_the_lease_is_dropped(table: RouteTable, elapse: Elapse) -> None:
    gateway_id, user_id = await a_gateway(table), a_name("u")
    await table.attach([(user_id, a_route(gateway_id))])
    await table.drop_lease(gateway_id, "boot-1")
    assert gateway_id not in await table.live_gateways()
    assert await table.routes_of([user_id]) == {}
    assert await table.index({user_id: {}}, {}) == {}
    assert not await table.renew_lease(gateway_id, "boot-1", LONG_S)


async def check_only_the_holder_drops_a_lease(table: RouteTable, elapse: Elapse) -> None:
    gateway_id = await a_gateway(table)
    await table.drop_lease(gateway_id, "boot-0")
    assert (await table.live_gateways())[gateway_id] == "boot-1"


async def check_routes_are_void_when_the_lease_runs_out(table: RouteTable, elapse: Elapse) -> None:
    gateway_id, user_id = a_name("gw"), a_name("u")
    await table.take_lease(gateway_id, "boot-1", SHORT_S)
    assert await table.renew_lease(gateway_id, "boot-1", SHORT_S)
    await table.attach([(user_id, a_route(gateway_id))])
    await elapse(2 * SHORT_S)
    assert gateway_id not in await table.live_gateways()
    assert await table.routes_of([user_id]) == {}
    assert not await table.renew_lease(gateway_id, "boot-1", LONG_S)


async def check_an_attached_route_is_found_whole(table: RouteTable, elapse: Elapse) -> None:
    gateway_id, user_id = await a_gateway(table), a_name("u")
    route = a_route(gateway_id, since_ms="1700000000000")
    (attached,) = await table.attach([(user_id, route)])
    assert attached.replaced is None
    assert attached.large == {}
    assert await table.routes_of([user_id, a_name("u")]) == {user_id: [route]}


async def check_a_device_has_one_route(table: RouteTable, elapse: Elapse) -> None:
    gateway_id, user_id = await a_gateway(table), a_name("u")
    older, newer = a_route(gateway_id), a_route(gateway_id)
    other = a_route(gateway_id, device_id="laptop")
    answers = await table.attach([(user_id, older), (user_id, newer), (user_id, other)])
    assert [attached.replaced for attached in answers] == [None, older, None]
    (found,) = (await table.routes_of([user_id])).values()
    assert sorted(found, key=lambda route: route.device_id) == [other, newer]


async def check_a_session_does_not_replace_itself(table: RouteTable, elapse: Elapse) -> None:
    gateway_id, user_id = await a_gateway(table), a_name("u")
    route = a_route(gateway_id)
    await table.attach([(user_id, route)])
    (again,) = await table.attach([(user_id, route)])
    assert again.replaced is None


async def check_a_late_detach_harms_no_newer_route(table: RouteTable, elapse: Elapse) -> None:
    gateway_id, user_id = await a_gateway(table), a_name("u")
    older, newer = a_route(gateway_id), a_route(gateway_id)
    await table.attach([(user_id, older), (user_id, newer)])
    await table.detach([(user_id, older)])
    assert await table.routes_of([user_id]) == {user_id: [newer]}
    await table.detach([(user_id, newer)])
    assert await table.routes_of([user_id]) == {}


async def check_a_device_too_many_puts_the_oldest_route_out(table: RouteTable, elapse: Elapse) -> None:
    gateway_id, user_id = await a_gateway(table), a_name("u")
    routes = [a_route(gateway_id, device_id=f"d{i}", since_ms=str(100 + i)) for i in range(MAX_DEVICES + 1)]
    answers = await table.attach([(user_id, route) for route in routes])
    assert [answer.replaced for answer in answers] == [*(None for _ in routes[1:]), routes[0]]
    (found,) = (await table.routes_of([user_id])).values()
    assert sorted(route.since_ms for route in found) == [route.since_ms for route in routes[1:]]


async def check_answers_to_many_routes_keep_their_order(table: RouteTable, elapse: Elapse) -> None:
    gateway_id = await a_gateway(table)
    users = [a_name("u") for _ in range(50)]
    older = [(user_id, a_route(gateway_id)) for user_id in users]
    await table.attach(older)
    answers = await table.attach([(user_id, a_route(gateway_id)) for user_id in users])
    assert [attached.replaced for attached in answers] == [route for _, route in older]


async def check_index_locates_users(table: RouteTable, elapse: Elapse) -> None:
    first, second = await a_gateway(table), await a_gateway(table)
    one, two, absent = a_name("u"), a_name("u"), a_name("u")
    await table.attach(
        [
            (one, a_route(first)),
            (two, a_route(first)),
            (two, a_route(second, device_id="laptop")),
            (two, a_route(second, device_id="tablet")),
        ]
    )
    located = await table.index({one: {"d:a:b": 5}, two: {"d:a:b": 5, "g:x": 6}, absent: {"d:a:b": 5}}, {})
    assert {user_id: sorted(gateways) for user_id, gateways in located.items()} == {
        one: [first],
        two: sorted([first, second]),
    }


async def check_index_never_lowers(table: RouteTable, elapse: Elapse) -> None:
    user_id, conversation_id = a_name("u"), f"g:{a_name('c')}"
    await table.index({user_id: {conversation_id: 20}}, {conversation_id: Head(2, 20)})
    await table.index({user_id: {conversation_id: 10}}, {conversation_id: Head(1, 10)})
    assert (await table.inbox(user_id, 0)).changed == {conversation_id: 20}
    assert await table.heads([conversation_id, "g:unknown"]) == {conversation_id: Head(2, 20)}
    await table.index({user_id: {conversation_id: 30}}, {conversation_id: Head(3, 30)})
    assert (await table.inbox(user_id, 0)).changed == {conversation_id: 30}
    assert await table.heads([conversation_id]) == {conversation_id: Head(3, 30)}


async def check_nothing_to_do_is_no_error(table: RouteTable, elapse: Elapse) -> None:
    assert await table.attach([]) == []
    await table.detach([])
    assert await table.index({}, {}) == {}
    assert await table.routes_of([]) == {}
    assert await table.pulse([]) == []
    assert await table.heads([]) == {}
    assert await table.note_seen([], 1) == {}
    assert await table.last_seen([]) == {}
    await table.watch([], "gw")
    await table.set_watermarks("s", {})
    await table.add_reader([], "gw")


async def check_the_inbox_holds_what_changed_since(table: RouteTable, elapse: Elapse) -> None:
    user_id = a_name("u")
    await table.index({user_id: {"g:a": 10, "g:b": 30, "g:c": 20}}, {})
    inbox = await table.inbox(user_id, 20)
    assert list(inbox.changed.items()) == [("g:b", 30), ("g:c", 20)]


async def check_an_inbox_is_complete_only_after_a_restore(table: RouteTable, elapse: Elapse) -> None:
    user_id = a_name("u")
    await table.index({user_id: {"g:a": 10, "g:b": 30}}, {})
    assert not (await table.inbox(user_id, 0)).complete
    await table.restore_inbox(user_id, {"g:a": 5}, complete=False)
    assert not (await table.inbox(user_id, 0)).complete
    await table.restore_inbox(user_id, {"g:a": 12, "g:b": 5, "g:c": 1}, complete=True)
    inbox = await table.inbox(user_id, 0)
    assert inbox.complete
    assert inbox.changed == {"g:b": 30, "g:a": 12, "g:c": 1}


async def check_an_empty_inbox_can_be_complete(table: RouteTable, elapse: Elapse) -> None:
    user_id = a_name("u")
    await table.restore_inbox(user_id, {}, complete=True)
    inbox = await table.inbox(user_id, 0)
    assert inbox.complete
    assert inbox.changed == {}


async def check_a_full_inbox_drops_its_oldest_and_says_so(table: RouteTable, elapse: Elapse) -> None:
    user_id = a_name("u")
    await table.restore_inbox(user_id, {f"g:{i}": 1_000 + i for i in range(MAX_INBOX)}, complete=True)
    assert (await table.inbox(user_id, 0)).complete
    await table.index({user_id: {"g:new": 1_000_000}}, {})
    everything = await table.inbox(user_id, 0)
    assert not everything.complete
    assert len(everything.changed) == MAX_INBOX
    assert "g:0" not in everything.changed
    assert (await table.inbox(user_id, 1_001)).complete
    await table.restore_inbox(user_id, {f"g:{i}": 1_000 + i for i in range(MAX_INBOX + 10)}, complete=True)
    assert not (await table.inbox(user_id, 1_009)).complete
    assert (await table.inbox(user_id, 1_012)).complete


async def check_readers_are_unknown_until_they_are_filled(table: RouteTable, elapse: Elapse) -> None:
    first, second = sorted([await a_gateway(table), await a_gateway(table)])
    members, conversation_id = [a_name("u") for _ in range(3)], f"g:{a_name('c')}"
    await table.attach([(members[0], a_route(first)), (members[1], a_route(second))])
    assert await table.readers(conversation_id) is None
    assert await table.fill_readers(conversation_id, dict.fromkeys(members, 4)) == (first, second)
    assert await table.readers(conversation_id) == (first, second)
    assert (await table.inbox(members[2], 0)).large == [conversation_id]
    (attached,) = await table.attach([(members[2], a_route(first))])
    assert attached.large == {conversation_id: 4}


async def check_adding_a_reader_does_not_make_them_known(table: RouteTable, elapse: Elapse) -> None:
    early, late = await a_gateway(table), await a_gateway(table)
    conversation_id = f"g:{a_name('c')}"
    await table.add_reader([conversation_id], early)
    assert await table.readers(conversation_id) is None
    await table.fill_readers(conversation_id, {a_name("u"): 1})
    await table.add_reader([conversation_id], late)
    assert await table.readers(conversation_id) == tuple(sorted([early, late]))


async def check_readers_follow_joins_leaves_and_leases(table: RouteTable, elapse: Elapse) -> None:
    gateway_id, user_id, conversation_id = await a_gateway(table), a_name("u"), f"g:{a_name('c')}"
    await table.attach([(user_id, a_route(gateway_id))])
    assert await table.fill_readers(conversation_id, {}) == ()
    assert await table.readers(conversation_id) == ()
    assert await table.join_readers(conversation_id, [user_id], 2) == (gateway_id,)
    assert await table.readers(conversation_id) == (gateway_id,)
    assert await table.leave_readers(conversation_id, [user_id], 3) == (gateway_id,)
    assert (await table.inbox(user_id, 0)).large == []
    await table.drop_lease(gateway_id, "boot-1")
    assert await table.readers(conversation_id) == ()


async def check_a_reader_reads_from_his_newest_joining(table: RouteTable, elapse: Elapse) -> None:
    gateway_id, user_id, conversation_id = await a_gateway(table), a_name("u"), f"g:{a_name('c')}"
    route = a_route(gateway_id)

    async def reads() -> dict[str, int]:
        (attached,) = await table.attach([(user_id, route)])
        return attached.large

    await table.fill_readers(conversation_id, {user_id: 9})
    assert await reads() == {conversation_id: 9}
    await table.leave_readers(conversation_id, [user_id], 10)
    assert await reads() == {}
    await table.join_readers(conversation_id, [user_id], 100)
    assert await reads() == {conversation_id: 100}


async def check_events_that_come_again_change_no_reader(table: RouteTable, elapse: Elapse) -> None:
    gateway_id, conversation_id = await a_gateway(table), f"g:{a_name('c')}"
    back, gone, other = a_name("u"), a_name("u"), a_name("u")
    everybody = [(user_id, a_route(gateway_id)) for user_id in (back, gone, other)]
    await table.fill_readers(conversation_id, {back: 9, gone: 9, other: 11})
    for _ in range(2):
        await table.leave_readers(conversation_id, [back, gone], 10)
        await table.join_readers(conversation_id, [back], 100)
        await table.leave_readers(conversation_id, [gone], 10)
        await table.leave_readers(conversation_id, [gone, back], 7)
        await table.join_readers(conversation_id, [gone], 9)
        await table.fill_readers(conversation_id, {back: 9, gone: 9, other: 5})
        large = [attached.large for attached in await table.attach(everybody)]
        assert large == [{conversation_id: 100}, {}, {conversation_id: 11}]


async def check_a_pulse_tells_the_heads_of_what_changed(table: RouteTable, elapse: Elapse) -> None:
    user_id, other = a_name("u"), a_name("u")
    old, new, quiet, loud = (f"g:{a_name('c')}" for _ in range(4))
    heads = {old: Head(3, 10), new: Head(7, 30), quiet: Head(1, 10), loud: Head(9, 40)}
    await table.index({user_id: {old: 10, new: 30}, other: {old: 10}}, heads)
    await table.fill_readers(quiet, {user_id: 1})
    await table.fill_readers(loud, {user_id: 1})
    answers = await table.pulse([(user_id, 20), (other, 20), (other, 0), (user_id, 20)])
    assert answers == [{new: 7, loud: 9}, {}, {old: 3}, {new: 7, loud: 9}]


async def check_a_pulse_tells_nothing_of_what_is_said_after_a_leave(
    table: RouteTable, elapse: Elapse
) -> None:
    left, stayed, conversation_id = a_name("u"), a_name("u"), f"g:{a_name('c')}"
    leave = {conversation_id: Head(2, 10)}
    await table.index({left: {conversation_id: 10}, stayed: {conversation_id: 10}}, leave)
    await table.index({stayed: {conversation_id: 30}}, {conversation_id: Head(3, 30)})
    assert await table.pulse([(left, 20), (stayed, 20)]) == [{}, {conversation_id: 3}]


async def check_a_pulse_is_bounded_to_the_newest(table: RouteTable, elapse: Elapse) -> None:
    user_id = a_name("u")
    names = [f"g:{a_name('c')}" for _ in range(MAX_PULSE + 5)]
    await table.index(
        {user_id: {name: i for i, name in enumerate(names)}},
        {name: Head(1, i) for i, name in enumerate(names)},
    )
    (heads,) = await table.pulse([(user_id, 0)])
    assert set(heads) == set(names[5:])


async def check_the_lowest_watermark_counts(table: RouteTable, elapse: Elapse) -> None:
    one, two = a_name("stage"), a_name("stage")
    await table.set_watermarks(one, {0: 50, 1: 40})
    assert await table.watermark([one], 2) == 40
    assert await table.watermark([one, two], 2) == 0
    await table.set_watermarks(two, {0: 70})
    await table.set_watermarks(two, {1: 30})
    assert await table.watermark([one, two], 2) == 30
    assert await table.watermark([one], 3) == 0
    assert await table.watermarks(one) == {0: 50, 1: 40}
    assert await table.watermarks(a_name("stage")) == {}


async def check_a_process_is_announced_until_it_is_silent(table: RouteTable, elapse: Elapse) -> None:
    quick, slow = (Announced("worker", a_name("w"), f"127.0.0.1:{port}") for port in (1, 2))
    for process in (quick, slow):
        await table.announce(process, LONG_S)
    assert {quick, slow} <= set(await table.announced())
    await table.announce(quick, SHORT_S)
    await elapse(2 * SHORT_S)
    assert slow in await table.announced()
    assert quick not in await table.announced()
    await table.announce(slow, SHORT_S)
    await elapse(2 * SHORT_S)
    assert slow not in await table.announced()


async def check_a_report_is_replaced_and_expires(table: RouteTable, elapse: Elapse) -> None:
    name = a_name("service")
    assert await table.report(name) is None
    await table.put_report(name, b'{"n":1}', LONG_S)
    await table.put_report(name, '{"n":"2 → 3"}'.encode(), LONG_S)
    assert await table.report(name) == '{"n":"2 → 3"}'.encode()
    await table.put_report(name, b"{}", SHORT_S)
    await elapse(2 * SHORT_S)
    assert await table.report(name) is None


async def check_a_stopped_stage_is_known_while_its_worker_says_so(table: RouteTable, elapse: Elapse) -> None:
    stage = a_name("stage")
    await table.report_stopped(stage, "9 in a row | failed")
    await table.report_stopped(stage, "10 in a row | failed")
    assert (await table.stopped())[stage] == "10 in a row | failed"
    for _ in range(int(STOPPED_KEPT_S / SHORT_S) + 1):
        if stage not in await table.stopped():
            break
        await elapse(SHORT_S)
    assert stage not in await table.stopped()


CHECKS: Final[Sequence[Check]] = [
    check for name, check in list(globals().items()) if name.startswith("check_")
]
