"""pipeline/ops/index_fold.py and rebuild_redis.py: the same index as fan-out leaves, message by message"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from infra.memory.routes import MemoryRouteTable
from infra.ports import Outgoing, Route
from pipeline.batch import Batch
from pipeline.fanout.agent import Fanout
from pipeline.ops.rebuild.redis import apply_index, fold_log
from tests.pipeline.ops.desk import World

PEOPLE = ["alice", "bob", "cy", "dee", "eve"]
GROUPS = ["g:tea", "g:team"]
TALK = "d:alice:bob"

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["says", "says", "talks", "joined", "left", "dissolved"]),
        st.sampled_from(GROUPS),
        st.sampled_from(PEOPLE),
    ),
    max_size=25,
)


async def a_log(steps: Sequence[tuple[str, str, str]], threshold: int) -> World:
    world = World(fanout_threshold_members=threshold)
    for group in GROUPS:
        content = '{"action":"created","by":"alice","name":"x","members":["bob"]}'
        await world.say(group, kind="group", content=content)
    for action, group, user in steps:
        if action == "says":
            await world.say(group)
        elif action == "talks":
            await world.say(TALK)
        elif action == "dissolved":
            await world.say(group, kind="group", content='{"action":"dissolved","by":"alice"}')
        else:
            event = f'{{"action":"{action}","by":"alice","users":["{user}"]}}'
            await world.say(group, kind="member", content=event)
    return world


async def fan_out(world: World, partition: int, start: int = 0) -> None:
    """What a live worker does with the log from there on."""
    stage = Fanout(world.settings, world.bus, world.history, world.routes)
    await stage.assign(partition, start)
    records = world.bus.records("im.messages", partition, start)
    if records:
        batch = Batch("im.messages", partition, records, 0.0)
        await stage.load(batch)
        await stage.perform(stage.plan(batch))


async def index_of(routes: MemoryRouteTable) -> dict[str, object]:
    inboxes = {user: await routes.inbox(user, 0) for user in PEOPLE}
    attached = await routes.attach([(user, Route("tv", "gw-9", "boot", user, "web", 0)) for user in PEOPLE])
    return {
        "heads": await routes.heads([*GROUPS, TALK]),
        "inboxes": {user: inbox.changed for user, inbox in inboxes.items()},
        "large": [answer.large for answer in attached],
    }


@given(STEPS, st.sampled_from([1, 2, 3, 10]))
def test_a_rebuilt_index_is_the_one_fan_out_left(steps: list[tuple[str, str, str]], threshold: int) -> None:
    """Whoever came and went, and whenever a conversation became large."""

    async def story() -> None:
        world = await a_log(steps, threshold)
        for partition in (0, 1):
            await fan_out(world, partition)
        left = await index_of(world.routes)
        world.routes.flush()
        await apply_index(world.doors, await fold_log(world.doors), "ann")
        assert await index_of(world.routes) == left

    asyncio.run(story())


async def test_a_rebuilt_inbox_is_complete() -> None:
    """Gateways need not ask the history for it."""
    world = await a_log([("says", "g:tea", "")], 10)
    await apply_index(world.doors, await fold_log(world.doors), "ann")
    assert (await world.routes.inbox("bob", 0)).complete


async def test_nothing_changes_before_it_is_applied() -> None:
    """And then nobody is delivered to, and it is on im.audit."""
    world = await a_log([("says", "g:tea", "")], 10)
    plan = await fold_log(world.doors)
    assert (plan.records, plan.failed, plan.known) == (3, 0, 0)
    assert await world.routes.heads(GROUPS) == {}
    assert world.audits() == []
    await apply_index(world.doors, plan, "ann")
    assert [audit.state for audit in world.audits()] == ["begun", "done"]
    assert world.bus.records("im.outbound.gw-1") == []


async def test_a_repeat_and_junk_are_passed_over() -> None:
    """As every reader of the log does."""
    world = await a_log([("talks", "", "")] * 3, 10)
    partition = world.bus.partition_for(TALK)
    first = world.bus.records("im.messages", partition)[0]
    await world.bus.publish(
        [Outgoing("im.messages", partition, v, TALK.encode()) for v in (first.value, b"?")]
    )
    plan = await fold_log(world.doors)
    assert plan.failed == 1
    assert plan.fold.heads()[TALK].seq == 3


async def test_who_leaves_while_it_is_written_is_out_of_a_large_conversation() -> None:
    """Though fan-out had taken them out before they were put in."""
    world = await a_log([("joined", "g:tea", "cy")], 1)
    plan = await fold_log(world.doors)
    partition = world.bus.partition_for("g:tea")
    end = (await world.bus.ends("im.messages"))[partition]
    await world.say("g:tea", kind="member", content='{"action":"left","by":"cy","users":["cy"]}')
    await fan_out(world, partition, end)
    await apply_index(world.doors, plan, "ann")
    assert (await world.routes.inbox("cy", 0)).large == []
    assert (await world.routes.inbox("bob", 0)).large == ["g:tea", "g:team"]
