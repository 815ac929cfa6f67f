"""pipeline/ops/rebuild_cassandra.py"""

from __future__ import annotations

import asyncio
from pathlib import Path

from infra.memory.history import MemoryHistory
from infra.ports import Outgoing
from pipeline.batch import Batch
from pipeline.ops.rebuild.cassandra import rebuild_cursors, rebuild_messages
from pipeline.persistence.agent import Persistence
from pipeline.topology import Doors
from schemas.codec import RECEIPT
from schemas.records import Receipt
from schemas.tables import Cursor
from tests.pipeline.ops.desk import World

TALK = "d:alice:bob"
GROUP = "g:tea"


async def a_life() -> World:
    """A talk and a group with all that can happen in them, stored as the live stage stores it."""
    world = World()
    await world.say(GROUP, kind="group", content='{"action":"created","by":"alice","members":["bob","cy"]}')
    await world.say(GROUP, 3)
    await world.say(GROUP, kind="edit", content='{"seq":2,"content":{"text":"better"}}')
    await world.say(GROUP, kind="recall", content='{"seq":3}')
    await world.say(GROUP, kind="member", content='{"action":"left","by":"cy","users":["cy"]}')
    await world.say(TALK, 5)
    for partition in (0, 1):
        stage = Persistence(world.history)
        records = world.bus.records("im.messages", partition)
        await stage.perform(stage.plan(Batch("im.messages", partition, records, 0.0)))
    return world


def elsewhere(world: World) -> tuple[Doors, MemoryHistory]:
    """The same log, and an empty history."""
    history = MemoryHistory()
    return Doors(world.settings, world.clock, world.bus, world.routes, history), history


async def test_the_rebuilt_history_is_the_original(tmp_path: Path) -> None:
    """Messages with their edits and recalls, events, and who is where."""
    world = await a_life()
    doors, history = elsewhere(world)
    progress = await rebuild_messages(doors, tmp_path / "rebuild-x.json", "ann", asyncio.Event())
    assert (progress.state, progress.read, progress.failed) == ("done", 12, 0)
    for talk in (TALK, GROUP):
        assert await history.page(talk, limit=99) == await world.history.page(talk, limit=99)
        assert await history.events(talk) == await world.history.events(talk)
    for user in ("alice", "bob", "cy"):
        assert await history.conversations(user) == await world.history.conversations(user)


async def test_a_rebuild_that_was_paused_goes_on(tmp_path: Path) -> None:
    """Running it again is enough."""
    world = await a_life()
    doors, history = elsewhere(world)
    path = tmp_path / "rebuild-x.json"
    stop = asyncio.Event()
    stop.set()
    assert (await rebuild_messages(doors, path, "ann", stop)).state == "paused"
    assert (await rebuild_messages(doors, path, "ann", asyncio.Event())).state == "done"
    assert len(await history.page(TALK, limit=99)) == 5


async def test_cursors_are_the_highest_of_everybody_who_ever_was_a_member(tmp_path: Path) -> None:
    """Also of who has left; not of a stranger, nor of one who never was inside."""
    world = await a_life()
    doors, history = elsewhere(world)
    said = [
        Receipt(TALK, "bob", 4, 2, "s", 1),
        Receipt(TALK, "bob", 3, 3, "s", 2),
        Receipt(TALK, "eve", 9, 9, "s", 3),
        Receipt(GROUP, "cy", 2, -1, "s", 4),
        Receipt(GROUP, "eve", 2, 2, "s", 5),
    ]
    await world.bus.publish(
        [
            Outgoing(
                "im.receipts",
                world.bus.partition_for(r.conversation_id),
                RECEIPT.encode(r),
                r.conversation_id.encode(),
            )
            for r in said
        ]
    )
    await rebuild_messages(doors, tmp_path / "rebuild-x.json", "ann", asyncio.Event())
    assert await rebuild_cursors(doors, "ann", lambda *_: None) == 2
    assert await history.cursors("bob") == {TALK: Cursor(3, 4)}
    assert await history.cursors("cy") == {GROUP: Cursor(0, 2)}
    assert await history.cursors("eve") == {}
