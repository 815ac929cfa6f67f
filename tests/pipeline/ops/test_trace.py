"""A trace tells every hop and every member, from the records alone."""

from __future__ import annotations

import pytest

from infra.ports import Outgoing
from pipeline.ops.traces.search import SCAN_RECORDS, find_made_of
from pipeline.ops.traces.trace import Trace, span_of, trace_of
from pipeline.ops.traces.trace_reader import MEMBERS, gather
from pipeline.topology import Doors
from schemas.codec import ACCEPTED
from schemas.codec import INBOUND as INBOUND_CODEC
from schemas.errors import BadInput
from schemas.topics import ACCEPTED as ACCEPTED_TOPIC
from schemas.topics import INBOUND
from tests.pipeline.ops.world import SETTINGS, World


async def trace_in(world: World, message_id: str, to: str | None = None) -> Trace:
    doors = Doors(SETTINGS, world.clock, world.bus, world.routes, world.history)
    return trace_of(await gather(doors, message_id, to=to))


def whats(trace: Trace) -> list[str]:
    return [hop.what for hop in trace.hops]


def states(trace: Trace) -> dict[str, str]:
    return {arrival.user_id: arrival.state for arrival in trace.arrivals}


async def test_a_delivered_message_shows_every_hop() -> None:
    """Accepted, judged, sequenced, stored, fanned out, acked: each with its place in the log."""
    world = World()
    await world.say("before")
    await world.connect("bob")
    message = await world.say("this one")
    await world.send_out(message, ["bob"])
    await world.say("after")
    await world.ack("bob", message)
    world.commit()
    trace = await trace_in(world, message.message_id)
    assert (trace.outcome, trace.conversation_id, trace.seq) == ("sent", "d:alice:bob", 2)
    assert whats(trace) == ["accepted", "passed", "passed on", "sequenced", "stored", "to gw-1"]
    assert trace.hops[0].place == f"{INBOUND}[0]@1"
    assert states(trace) == {"alice": "sender", "bob": "delivered"}
    assert not trace.is_finding


async def test_a_member_who_is_away_waits_for_his_sync() -> None:
    """Offline is no finding: the message is stored, and the next sync brings it."""
    world = World()
    message = await world.say()
    world.commit()
    trace = await trace_in(world, message.message_id)
    assert states(trace)["bob"] == "waiting"
    assert not trace.is_finding


async def test_a_connected_member_without_an_ack_is_a_finding_in_the_end() -> None:
    """Connected all the time and no ack after the grace: the trace says so."""
    world = World()
    await world.connect("bob")
    message = await world.say()
    world.commit()
    assert states(await trace_in(world, message.message_id))["bob"] == "unacked"
    world.clock.advance(300)
    trace = await trace_in(world, message.message_id)
    assert states(trace)["bob"] == "overdue"
    assert trace.is_finding


async def test_a_group_has_an_answer_for_everybody() -> None:
    """Members, ex-members and one asked for by name, each with the reason."""
    world = World()
    await world.group("g:tea", "alice", ["bob", "carol"])
    left = '{"action":"left","by":"carol","users":["carol"]}'
    await world.say(conversation_id="g:tea", kind="member", sender="carol", content=left)
    message = await world.say(conversation_id="g:tea")
    world.commit()
    trace = await trace_in(world, message.message_id)
    assert states(trace) == {"alice": "sender", "bob": "waiting", "carol": "not_a_member"}
    stranger = await trace_in(world, message.message_id, to="dave")
    assert states(stranger) == {"dave": "not_a_member"}


async def test_a_large_group_is_asked_about_in_part() -> None:
    """So many members are asked about; the rest is counted, and can be asked for one by one."""
    world = World()
    await world.group("g:big", "alice", [f"u{n}" for n in range(MEMBERS + 10)])
    message = await world.say(conversation_id="g:big")
    world.commit()
    trace = await trace_in(world, message.message_id)
    assert (len(trace.arrivals), trace.unlisted) == (MEMBERS, 11)


async def test_a_rejection_says_which_code_and_rules() -> None:
    """A moderated message ends at its decision."""
    world = World()
    inbound, at = await world.ask("bad word")
    await world.decide(inbound, at, code=1201)
    world.commit()
    trace = await trace_in(world, inbound.message_id)
    assert (trace.outcome, whats(trace)) == ("rejected", ["accepted", "rejected"])
    assert "1201 moderated" in trace.hops[1].text


async def test_a_repeat_names_its_first_place() -> None:
    """A second try under the same client_msg_id has an id of its own, and leads to the first."""
    world = World()
    first = await world.say("hi", client_msg_id="once")
    again, at = await world.ask("hi", client_msg_id="once")
    await world.decide(again, at)
    world.commit()
    trace = await trace_in(world, again.message_id)
    assert trace.outcome == "repeat"
    assert first.message_id in trace.hops[-1].text


async def test_a_dead_letter_says_which_stage_and_why() -> None:
    """What a stage could not understand is found in im.dlq by its origin."""
    world = World()
    inbound, at = await world.ask("poison")
    await world.bury(INBOUND, at)
    world.commit()
    trace = await trace_in(world, inbound.message_id)
    assert trace.outcome == "dead_lettered"
    assert trace.hops[-1].text == "no record"


async def test_what_waits_and_what_is_lost_are_told_apart() -> None:
    """Without an outcome it is in flight until its stage has committed past it; then it is lost."""
    world = World()
    inbound, at = await world.ask()
    await world.decide(inbound, at)
    waiting = await trace_in(world, inbound.message_id)
    assert (waiting.outcome, waiting.hops[-1].by) == ("in_flight", "moderation")
    world.commit()
    lost = await trace_in(world, inbound.message_id)
    assert (lost.outcome, lost.is_finding) == ("lost", True)


async def test_a_message_without_its_row_is_a_finding() -> None:
    """Sequenced and committed, but not in the history."""
    world = World()
    inbound, at = await world.ask()
    await world.place(inbound, await world.decide(inbound, at))
    world.commit()
    trace = await trace_in(world, inbound.message_id)
    assert "not stored" in whats(trace)
    assert trace.is_finding


async def test_an_id_nobody_knows_is_a_finding() -> None:
    """There is no record around the time in the id."""
    world = World()
    await world.say()
    trace = await trace_in(world, world.new_id())
    assert (trace.outcome, trace.is_finding) == ("unknown", True)


async def test_a_text_that_quotes_the_id_is_not_taken_for_it() -> None:
    """The id is looked for where ids stand, not in what people say."""
    world = World()
    message_id = world.new_id()
    await world.say(f"see {message_id}")
    await world.say("this one", message_id=message_id)
    world.commit()
    assert (await trace_in(world, message_id)).seq == 2


async def test_no_id_is_no_question() -> None:
    """What cannot be a message id is refused as bad input."""
    with pytest.raises(BadInput, match="message id"):
        await trace_in(World(), "hello")


async def test_a_record_far_from_its_time_is_found_by_halving() -> None:
    """A stage that was far behind wrote it much later: its place follows from the source offsets."""
    world = World()
    inbound, _ = await world.ask()
    body = INBOUND_CODEC.split(INBOUND_CODEC.encode(inbound))[2]
    values = [ACCEPTED.splice({"source_offset": n}, body) for n in range(2 * SCAN_RECORDS)]
    await world.bus.publish([Outgoing(ACCEPTED_TOPIC, 0, value) for value in values])
    wanted = 2 * SCAN_RECORDS - 300
    (found,) = await find_made_of(
        world.bus, ACCEPTED_TOPIC, 0, 0, wanted, lambda r: ACCEPTED.numbers(r.value)["source_offset"]
    )
    assert found.offset == wanted


def test_the_trace_id_stands_only_when_it_was_sampled() -> None:
    """A traceparent with the sampled flag links to the spans; one without it has none."""
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    header = f"00-{trace_id}-00f067aa0ba902b7-"
    assert span_of([("traceparent", f"{header}01".encode())]) == trace_id
    assert span_of([("traceparent", f"{header}00".encode())]) == ""
    assert span_of([("traceparent", b"rubbish")]) == ""
    assert span_of([]) == ""
