"""pipeline/ops/replay_planning.py and replay_plan.py"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pipeline.ops.replay.plan import Plan, Range, ReplayStage, load_plan, save
from pipeline.ops.replay.planning import Request, make_plan
from pipeline.persistence.rows import rows_of
from schemas.errors import BadInput
from tests.pipeline.ops.desk import World

TALKS = ["d:alice:bob", "d:alice:cy", "d:bob:cy", "g:tea"]


async def a_log() -> World:
    """Ten messages in each of four conversations, a millisecond after one another."""
    world = World()
    for talk in TALKS:
        await world.say(talk, 10)
    return world


async def test_a_plan_counts_what_it_would_touch() -> None:
    """All of the log, read once; nothing of it changes."""
    world = await a_log()
    plan = await make_plan(world.doors, Request("persist"), "ann")
    assert (plan.counts.records, plan.counts.selected, plan.counts.conversations) == (40, 40, 4)
    assert (plan.counts.sampled, plan.counts.repeats, plan.counts.undecodable) == (40, 0, 0)
    assert plan.counts.rows == 40 + 3 * 3 + 1  # a bucket each, and two memberships of a direct conversation
    assert world.audits() == []


async def test_what_is_there_already_is_measured() -> None:
    """By looking the sample up where the replay would put it."""
    world = await a_log()
    for message in await world.say("d:eve:fay", 10):
        await world.history.write(rows_of(message))
    plan = await make_plan(world.doors, Request("persist"), "ann")
    assert (plan.counts.repeats, plan.counts.sampled) == (10, 50)


async def test_times_become_offsets() -> None:
    """A plan means the same records whenever it is applied."""
    world = await a_log()
    start = world.bus.records("im.messages", 0)[0].timestamp_ms
    plan = await make_plan(world.doors, Request("persist", from_ms=start + 10, to_ms=start + 20), "ann")
    assert plan.counts.records == 10
    assert plan.counts.conversations == 1


@pytest.mark.parametrize("stage", ["persist", "index", "export"])
async def test_a_user_means_the_conversations_of_that_user(stage: ReplayStage) -> None:
    """Only their partitions are read."""
    world = await a_log()
    for talk in TALKS:
        await world.history.write(rows_of((await world.say(talk))[0]))
    await world.say("d:cy:dee", 1)
    for message in await world.say("d:eve:fay", 1):
        await world.history.write(rows_of(message))
    plan = await make_plan(world.doors, Request(stage, users=["eve"]), "ann")
    assert plan.conversations == ["d:eve:fay"]
    assert plan.counts.selected == 1
    assert [r.partition for r in plan.ranges] == [world.bus.partition_for("d:eve:fay")]


@pytest.mark.parametrize(
    "request_",
    [
        Request("persist", from_offset=3),
        Request("persist", partition=9),
        Request("persist", conversations=["nobody"]),
        Request("persist", users=["stranger"]),
    ],
)
async def test_what_cannot_be_meant_is_refused(request_: Request) -> None:
    """Offsets without a partition, partitions and conversations that are none."""
    with pytest.raises(BadInput):
        await make_plan((await a_log()).doors, request_, "ann")


async def test_a_plan_holds_only_while_the_log_does() -> None:
    """Not if records are gone, partitions were added, or the messages have another schema."""
    world = await a_log()
    plan = await make_plan(world.doors, Request("persist"), "ann")
    beginnings, ends = await world.bus.beginnings("im.messages"), await world.bus.ends("im.messages")
    assert plan.refusal(beginnings, ends, plan.schema_id, {}) == ""
    gone = dict.fromkeys(beginnings, 5)
    assert "is gone" in plan.refusal(gone, ends, plan.schema_id, {})
    assert plan.refusal(gone, ends, plan.schema_id, {0: 5, 1: 5}) == ""
    assert "3 partitions" in plan.refusal(beginnings, {**ends, 2: 9}, plan.schema_id, {})
    assert "schema" in plan.refusal(beginnings, ends, plan.schema_id + 1, {})
    assert "not the topic" in plan.refusal(beginnings, {0: 1, 1: 1}, plan.schema_id, {})


async def test_a_plan_is_kept_whole(tmp_path: Path) -> None:
    """What is read is what was written; anything else is refused by name."""
    plan = await make_plan((await a_log()).doors, Request("persist", partition=0, to_offset=3), "ann")
    assert plan.ranges == [Range(0, 0, 3)]
    save(tmp_path / "plan.json", plan)
    assert load_plan(tmp_path / "plan.json") == plan
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    (tmp_path / "other.json").write_bytes(msgspec.json.encode({"plan_id": 3}))
    for name in ("other.json", "missing.json"):
        with pytest.raises(BadInput, match=name):
            load_plan(tmp_path / name)
    assert isinstance(plan, Plan)
