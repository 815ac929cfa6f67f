"""The audit over whole topics: what is there is accounted for, what is taken out is named."""

from __future__ import annotations

from pipeline.ops.accounts.audit import Account, Audit, ack_grace_ms
from schemas.topics import ACCEPTED, INBOUND, MESSAGES
from tests.pipeline.ops.world import SETTINGS, World


async def account_of(world: World, rounds: int = 2) -> Account:
    """The account of an audit that was there from the beginning."""
    audit = Audit(SETTINGS, world.bus, world.history, world.routes, world.clock)
    await audit.open()
    for _ in range(rounds):
        account, level = await audit.round()
        assert level
    return account


async def test_what_went_its_way_is_accounted_for() -> None:
    """Sent, rejected, repeated and dead-lettered requests leave nothing over."""
    world = World()
    first = await world.say("hi", client_msg_id="once")
    rejected, at = await world.ask("bad")
    await world.decide(rejected, at, code=1201)
    again, at = await world.ask("hi", client_msg_id="once")
    await world.decide(again, at)
    _, poison = await world.ask("poison")
    await world.bury(INBOUND, poison)
    await world.say("bye")
    world.commit()
    account = await account_of(world)
    assert account.total == 0
    assert account.findings == []
    assert {name: count for name, count in account.results.items() if count} == {
        "accepted": 5,
        "rejected": 1,
        "dead_lettered": 1,
        "sent": 2,
        "repeat": 1,
        "stored": 2,
    }
    assert first.seq == 1


async def test_what_no_stage_has_committed_is_in_flight() -> None:
    """A request that waits for moderation is neither lost nor accounted for yet."""
    world = World()
    await world.say()
    world.commit()
    await world.ask("waits")
    account = await account_of(world)
    assert (account.total, account.in_flight) == (0, 1)


async def test_a_request_without_a_decision_is_named() -> None:
    """A record of im.inbound that moderation has passed without a word is one finding, at its place."""
    world = World()
    await world.say()
    await world.ask("lost")
    await world.say()
    world.commit()
    (finding,) = (account := await account_of(world)).findings
    assert (finding.between, finding.what, finding.place) == (
        "inbound-decision",
        "missing",
        f"{INBOUND}[0]@1",
    )
    assert account.total == 1


async def test_an_accepted_without_a_message_is_named() -> None:
    """An Accepted that sequencing has passed, and that repeats nothing, is one finding."""
    world = World()
    await world.say()
    inbound, at = await world.ask("lost")
    await world.decide(inbound, at)
    world.commit()
    (finding,) = (await account_of(world)).findings
    assert (finding.between, finding.place) == ("accepted-message", f"{ACCEPTED}[0]@1")


async def test_a_message_without_a_row_is_named_until_it_is_stored() -> None:
    """The row of one message is missing: it is named by conversation and seq; a replay settles it."""
    world = World()
    await world.say()
    inbound, at = await world.ask("lost")
    message = await world.place(inbound, await world.decide(inbound, at))
    await world.say()
    world.commit()
    audit = Audit(SETTINGS, world.bus, world.history, world.routes, world.clock)
    await audit.open()
    assert (await audit.round())[0].total == 0
    account, _ = await audit.round()
    (finding,) = account.findings
    assert (finding.between, finding.conversation_id, finding.seq) == ("message-row", "d:alice:bob", 2)
    assert finding.place == f"{MESSAGES}[0]@1"
    await world.store(message)
    account, _ = await audit.round()
    assert (account.total, account.results["stored"]) == (0, 3)


async def test_a_repeat_after_the_dedupe_window_is_no_excuse() -> None:
    """An Accepted whose client_msg_id was used too long ago owes a message of its own."""
    world = World()
    await world.say(client_msg_id="once")
    world.clock.advance(SETTINGS.dedupe_window_s + 1)
    await world.say(client_msg_id="tick")
    inbound, at = await world.ask(client_msg_id="once")
    await world.decide(inbound, at)
    world.commit()
    assert (await account_of(world)).unaccounted["accepted-message"] == 1


async def test_a_connected_member_who_never_acks_is_named() -> None:
    """Who was connected all the time and has not acked after the grace is a finding; who is away waits."""
    world = World()
    await world.connect("bob")
    await world.say(conversation_id="d:alice:carol")
    message = await world.say(conversation_id="d:alice:bob")
    world.commit()
    audit = Audit(SETTINGS, world.bus, world.history, world.routes, world.clock)
    await audit.open()
    assert (await audit.round())[0].total == 0
    world.clock.advance(ack_grace_ms(SETTINGS) / 1000 + 1)
    account, _ = await audit.round()
    (finding,) = account.findings
    assert (finding.between, finding.user_id, finding.seq) == ("row-delivery", "bob", 1)
    assert account.results["waiting"] == 1
    await world.ack("bob", message)
    account, _ = await audit.round()
    assert account.total == 0


async def test_two_audits_say_the_same_and_change_nothing() -> None:
    """An audit only reads: a second one, later or beside it, finds the same books."""
    world = World()
    await world.say()
    await world.ask("lost")
    world.commit()
    before = [len(world.bus.records(topic)) for topic in (INBOUND, ACCEPTED, MESSAGES)]
    one, two = await account_of(world), await account_of(world)
    assert one == two
    assert before == [len(world.bus.records(topic)) for topic in (INBOUND, ACCEPTED, MESSAGES)]
