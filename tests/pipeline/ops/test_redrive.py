"""pipeline/ops/redrive.py"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from infra.ports import Outgoing, Route
from pipeline.ops.dead_letters.box import open_letters
from pipeline.ops.dead_letters.letters import REDRIVEN_HEADER, Filter
from pipeline.ops.dead_letters.redrive import Redriven, redrive
from schemas.codec import ACCEPTED, INBOUND, MESSAGE
from schemas.errors import Unavailable
from tests.builders import a_message, an_inbound
from tests.pipeline.ops.desk import World

TALK = "d:alice:bob"


async def redrive_all(world: World) -> Redriven:
    letters, handled = await open_letters(world.bus, Filter())
    return await redrive(world.doors, "ann", letters, handled)


def an_accepted(text: str) -> bytes:
    return ACCEPTED.splice({"source_offset": 3}, INBOUND.split(INBOUND.encode(an_inbound(text)))[2])


async def test_a_request_goes_back_as_it_was_in_order_and_once() -> None:
    """Bytes, key, partition and own headers; a second redrive finds nothing to do."""
    world = World()
    for offset in (9, 7, 8):
        await world.bury("moderation", b"m%d" % offset, offset, partition=1, headers=(("h", b"1"),))
    assert (await redrive_all(world)).redriven == 3
    assert (await redrive_all(world)).redriven == 0
    records = world.bus.records("im.inbound", 1)
    assert [record.value for record in records] == [b"m7", b"m8", b"m9"]
    assert records[0].key == TALK.encode()
    assert records[0].headers == (("h", b"1"), (REDRIVEN_HEADER, b"im.inbound[1]@7/moderation"))


async def test_an_accepted_one_is_asked_anew() -> None:
    """Back in im.accepted the sequencer would drop it as a repeat: its Inbound goes to im.inbound."""
    world = World()
    await world.bury("sequencing", an_accepted("again"), 7, "im.accepted", key=b"wrong")
    assert (await redrive_all(world)).redriven == 1
    assert world.bus.records("im.accepted", 0) == []
    (record,) = world.bus.records("im.inbound", world.bus.partition_for(TALK))
    assert INBOUND.decode(record.value) == an_inbound("again")
    assert record.key == TALK.encode()


async def test_a_sequenced_message_is_stored_and_never_published() -> None:
    """P2: it has its place already."""
    world = World()
    await world.bury("persistence", MESSAGE.encode(a_message(1, 0)), 7, "im.messages")
    await world.bury("persistence", b"junk", 8, "im.messages")
    outcome = await redrive_all(world)
    assert outcome.redriven == 1
    assert list(outcome.failed) == ["im.messages[0]@8/persistence"]
    assert [row.seq for row in await world.history.page(TALK, limit=10)] == [1]
    assert all(world.bus.records("im.messages", p) == [] for p in (0, 1))
    left, _ = await open_letters(world.bus, Filter())
    assert [letter.offset for letter in left] == [8]


async def test_a_message_that_was_not_fanned_out_is_indexed_and_not_delivered() -> None:
    """Its users' inboxes say that something changed just now, so that the next pong or sync shows it."""
    world = World()
    await world.routes.take_lease("gw-1", "boot", 60.0)
    await world.routes.attach([("bob", Route("phone", "gw-1", "boot", "s", "web", 0))])
    await world.bury("fanout", MESSAGE.encode(a_message(1, 0)), 7, "im.messages")
    assert (await redrive_all(world)).redriven == 1
    assert (await world.routes.pulse([("bob", world.clock.now_ms())])) == [{TALK: 1}]
    assert world.bus.records("im.outbound.gw-1") == []


async def test_a_stranger_s_letter_stays() -> None:
    """Nobody knows what to do with it."""
    world = World()
    await world.bus.publish([Outgoing("im.dlq", 0, b"?")])
    outcome = await redrive_all(world)
    assert (outcome.redriven, len(outcome.failed)) == (0, 1)


@pytest.mark.parametrize("published", [0, 2])
async def test_a_redrive_that_was_cut_short_is_finished_and_not_repeated(published: int) -> None:
    """What it had published is looked up in the log; the rest follows."""
    world = World()
    for offset in (7, 8, 9):
        await world.bury("moderation", b"m%d" % offset, offset)
    letters, handled = await open_letters(world.bus, Filter())
    publish = world.bus.publish

    async def dies(records: Sequence[Outgoing]) -> None:
        if records[0].topic == "im.inbound":
            await publish(records[:published])
            raise Unavailable("killed")
        await publish(records)

    world.bus.publish = dies  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await redrive(world.doors, "ann", letters, handled)
    world.bus.publish = publish  # type: ignore[method-assign]
    outcome = await redrive_all(world)
    assert (outcome.already, outcome.redriven) == (published, 3 - published)
    assert [record.value for record in world.bus.records("im.inbound")] == [b"m7", b"m8", b"m9"]


async def test_every_batch_is_on_the_audit_before_and_after() -> None:
    """With the ids of its letters, and none of their content."""
    world = World()
    for offset in range(501):
        await world.bury("receipts", b"secret", offset, "im.receipts")
    steps: list[int] = []
    letters, handled = await open_letters(world.bus, Filter())
    await redrive(world.doors, "ann", letters, handled, steps.append)
    assert steps == [500, 1]
    assert [audit.state for audit in world.audits()] == ["begun", "done", "begun", "done"]
    assert "im.receipts[0]@500/receipts" in world.audits()[2].details
    assert not any("secret" in audit.details for audit in world.audits())
