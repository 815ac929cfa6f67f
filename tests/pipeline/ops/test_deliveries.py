"""Deliveries are asked about for a bounded number of members, and the rest is counted."""

from __future__ import annotations

from pipeline.ops.accounts.arrival import Said
from pipeline.ops.accounts.deliveries import Deliveries, folded
from tests.pipeline.ops.world import World


async def test_members_beyond_the_limit_are_counted() -> None:
    """A large group does not make a round longer: so many are asked about, the others are counted."""
    world = World()
    created = await world.group("g:big", "alice", [f"u{n}" for n in range(50)])
    deliveries = Deliveries(world.history, world.routes, grace_ms=1_000)
    said = Said(created.seq, "alice", created.sent_at_ms)
    found, left = await deliveries.check({"g:big": said}, world.clock.now_ms(), limit=20)
    assert (len(found), left) == (20, 31)


async def test_who_left_is_not_asked_about() -> None:
    """An ex-member owes no ack, whatever he was sent."""
    world = World()
    await world.group("g:tea", "alice", ["bob"])
    left = '{"action":"left","by":"bob","users":["bob"]}'
    gone = await world.say(conversation_id="g:tea", kind="member", sender="bob", content=left)
    deliveries = Deliveries(world.history, world.routes, grace_ms=1_000)
    said = Said(gone.seq, "bob", gone.sent_at_ms)
    found, _ = await deliveries.check({"g:tea": said}, world.clock.now_ms(), limit=20)
    assert [one.arrival.user_id for one in found] == ["alice"]


async def test_a_key_that_names_no_conversation_is_passed_over() -> None:
    """A record under a rubbish key must not stop a round."""
    assert await folded(World().history, ["rubbish"]) == {}
