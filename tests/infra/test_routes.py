"""The rules over routes, inboxes and heads."""

from __future__ import annotations

from infra.ports import Head, Route
from infra.routes import (
    MAX_PULSE,
    NAMES_PER_CALL,
    LiveGateways,
    by_shard,
    newest_heads,
    parse_route,
    serialize_route,
    session_prefix,
    trim_inbox,
)
from schemas.keys import shard_of

ROUTE = Route("phone", "gw-1", "boot-1", "s1", "web", 17)


def stored(gateway_id: str, boot_id: str = "boot-1") -> str:
    return serialize_route(Route("phone", gateway_id, boot_id, "s1", "web", 17))


def test_a_route_is_read_as_it_was_stored() -> None:
    """Serializing and parsing are inverse, and the stored form begins with its session."""
    text = serialize_route(ROUTE)
    assert text == "gw-1|boot-1|s1|web|17"
    assert parse_route("phone", text) == ROUTE
    assert text.startswith(session_prefix(ROUTE))


def test_a_route_counts_only_under_the_boot_of_the_lease() -> None:
    """A route of a dead gateway, or of an earlier life of a live one, leads nowhere."""
    live = LiveGateways({"gw-1": "boot-1", "gw-2": "boot-2"})
    assert live.gateways_of([stored("gw-1")]) == ("gw-1",)
    assert live.gateways_of([stored("gw-2")]) == ()
    assert live.gateways_of([stored("gw-3")]) == ()
    assert live.gateways_of([stored("gw-2"), stored("gw-2", "boot-2"), stored("gw-1")]) == ("gw-2", "gw-1")


def test_a_gateway_counts_once() -> None:
    """Two devices on one gateway are one delivery."""
    live = LiveGateways({"gw-1": "boot-1"})
    assert live.gateways_of([stored("gw-1"), stored("gw-1")]) == ("gw-1",)


def test_unknown_leases_are_remembered_as_strangers() -> None:
    """What was asked for in vain is known afterwards, so that it can be looked for again."""
    live = LiveGateways({"gw-1": "boot-1"})
    live.gateways_of([stored("gw-1"), stored("gw-9")])
    assert live.among({"gw-1", "gw-8"}) == ("gw-1",)
    assert live.strangers == {"gw-9|boot-1", "gw-8"}


def test_newest_heads_are_those_that_changed_since() -> None:
    """Unknown heads and older ones are left out."""
    heads = {"g:a": Head(3, 10), "g:b": Head(4, 20), "g:c": Head(5, 30)}
    assert newest_heads(["g:a", "g:b", "g:c", "g:d"], heads, 20) == {"g:b": 4, "g:c": 5}


def test_newest_heads_are_bounded() -> None:
    """Of too many the newest stay."""
    heads = {f"g:{i}": Head(1, i) for i in range(MAX_PULSE + 3)}
    assert set(newest_heads(heads, heads, 0)) == {f"g:{i}" for i in range(3, MAX_PULSE + 3)}


def test_a_short_inbox_is_complete() -> None:
    """Nothing is left out, newest first."""
    assert trim_inbox({"g:a": 1, "g:b": 2}, 2) == ({"g:b": 2, "g:a": 1}, 0)


def test_a_long_inbox_is_complete_from_after_what_it_dropped() -> None:
    """The entry that was dropped last marks the time from which on nothing is missing."""
    newest, complete_from_ms = trim_inbox({"g:a": 10, "g:b": 20, "g:c": 30}, 2)
    assert list(newest) == ["g:c", "g:b"]
    assert complete_from_ms == 11


def test_groups_lie_in_one_shard_and_are_bounded() -> None:
    """Every name is in exactly one group, with names of its own shard."""
    names = [f"u{i}" for i in range(9 * NAMES_PER_CALL)]
    groups = list(by_shard(names))
    assert sorted(name for group in groups for name in group) == sorted(names)
    for group in groups:
        assert len({shard_of(name) for name in group}) == 1
        assert len(group) <= NAMES_PER_CALL
