"""A verification passes what is whole, and names exactly what was taken out, doubled or changed."""

from __future__ import annotations

import msgspec

from pipeline.ops.accounts.audit import ack_grace_ms
from pipeline.ops.accounts.findings import Finding
from pipeline.ops.accounts.verify import Verification, verify
from pipeline.persistence.rows import rows_of
from pipeline.topology import Doors
from schemas.records import Message, Receipt
from schemas.tables import ChangeRow
from tests.pipeline.ops.world import SETTINGS, World


async def verified(world: World, conversation_id: str | None = None, **window: int) -> Verification:
    doors = Doors(SETTINGS, world.clock, world.bus, world.routes, world.history)
    now_ms = world.clock.now_ms()
    since_ms, until_ms = window.get("since_ms", now_ms - 3_600_000), window.get("until_ms", now_ms + 1)
    return await verify(doors, since_ms, until_ms, conversation_id)


def names(found: Verification) -> list[tuple[str, str, str, int]]:
    return [(f.between, f.what, f.message_id, f.seq) for f in found.findings]


async def unstored(world: World, text: str) -> Message:
    """A message whose row was never written."""
    inbound, at = await world.ask(text)
    return await world.place(inbound, await world.decide(inbound, at))


async def test_a_whole_hour_has_no_finding() -> None:
    """Messages, a rejection, a repeat, an edit and a recall: log and history agree."""
    world = World()
    first = await world.say(client_msg_id="once")
    second = await world.say()
    await world.history.write([ChangeRow(first.conversation_id, 1, 3, 1, '{"text":"new"}')])
    await world.history.write([ChangeRow(second.conversation_id, 2, 4, 1, None)])
    again, at = await world.ask(client_msg_id="once")
    await world.decide(again, at)
    bad, at = await world.ask("bad")
    await world.decide(bad, at, code=1201)
    world.commit()
    found = await verified(world)
    assert found.findings == []
    assert (found.conversations, found.results["sent"], found.results["stored"]) == (1, 2, 2)


async def test_each_thing_that_was_dropped_is_named_by_its_message() -> None:
    """A request without a decision, an Accepted without a message, a message without a row: these three."""
    world = World()
    await world.say()
    undecided, _ = await world.ask("undecided")
    unplaced, at = await world.ask("unplaced")
    await world.decide(unplaced, at)
    lost = await unstored(world, "unstored")
    await world.say()
    world.commit()
    found = await verified(world)
    assert names(found) == [
        ("inbound-decision", "missing", undecided.message_id, 0),
        ("accepted-message", "missing", unplaced.message_id, 0),
        ("message-row", "missing", lost.message_id, 2),
    ]
    assert {f.conversation_id for f in found.findings} == {"d:alice:bob"}


async def test_a_row_that_says_something_else_is_named() -> None:
    """Other content in the history than in the log is found, with the field that differs."""
    world = World()
    message = await unstored(world, "the truth")
    await world.history.write(rows_of(msgspec.structs.replace(message, content='{"text":"a lie"}')))
    world.commit()
    (finding,) = (await verified(world)).findings
    assert (finding.what, finding.message_id) == ("differs", message.message_id)
    assert "content" in finding.text


async def test_two_places_for_one_client_msg_id_are_a_double() -> None:
    """The second message of a client_msg_id inside the window is named; one after the window is not."""
    world = World()
    await world.say(client_msg_id="once")
    second = await world.say(client_msg_id="once")
    world.clock.advance(SETTINGS.dedupe_window_s + 1)
    await world.say(client_msg_id="once")
    world.commit()
    assert names(await verified(world)) == [("accepted-message", "double", second.message_id, 2)]


async def test_a_hole_in_the_seqs_is_named() -> None:
    """A seq that no message has, between two that are there."""
    world = World()
    await world.say()
    await world.skip_seq("d:alice:bob")
    await world.say()
    world.commit()
    assert names(await verified(world)) == [("accepted-message", "missing", "", 2)]


async def test_a_cursor_beyond_the_newest_message_is_named() -> None:
    """Nobody can have acked what was not said."""
    world = World()
    message = await world.say()
    await world.history.move_cursors([Receipt(message.conversation_id, "bob", 9, -1, "s", 1)])
    world.commit()
    (finding,) = (await verified(world)).findings
    assert (finding.between, finding.what, finding.user_id) == ("row-delivery", "differs", "bob")


async def test_a_delivery_that_was_dropped_is_named() -> None:
    """A member who was connected all the time and never acked."""
    world = World()
    await world.connect("bob")
    await world.say()
    world.commit()
    world.clock.advance(ack_grace_ms(SETTINGS) / 1000 + 1)
    found: list[Finding] = (await verified(world)).findings
    assert [(f.between, f.what, f.user_id, f.seq) for f in found] == [("row-delivery", "missing", "bob", 1)]


async def test_one_conversation_is_judged_alone() -> None:
    """What is missing elsewhere is not told when one conversation was asked for."""
    world = World()
    await unstored(world, "lost")
    await world.say(conversation_id="d:alice:carol")
    world.commit()
    assert (await verified(world, "d:alice:carol")).findings == []
    assert len((await verified(world, "d:alice:bob")).findings) == 1


async def test_only_the_window_is_judged() -> None:
    """What was lost before or after it belongs to another window."""
    world = World()
    await unstored(world, "before")
    world.clock.advance(300)
    since_ms = world.clock.now_ms()
    await world.say()
    world.clock.advance(300)
    until_ms = world.clock.now_ms()
    await unstored(world, "after")
    world.commit()
    found = await verified(world, since_ms=since_ms, until_ms=until_ms)
    assert (found.findings, found.results["stored"]) == ([], 1)
