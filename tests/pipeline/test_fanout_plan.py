"""Who gets a message, by the state at its place in the order."""

from __future__ import annotations

from pipeline.fanout.plan import FanoutPlan, address_large, address_small, index_entries, plan_fanout
from schemas.codec import MESSAGE, OUTBOUND
from schemas.conversation import ConversationState, MemberEvent, fold
from schemas.records import Outbound
from tests.builders import a_message, framed

CREATED = '{"action":"created","by":"alice","name":"Tea","members":["bob","cy"]}'


def a_group() -> ConversationState:
    return fold("g:1", [(1, "group", CREATED)])


def plan(
    state: ConversationState, seq: int, event: MemberEvent | None = None, threshold: int = 10
) -> FanoutPlan:
    value = framed(
        a_message(seq, 100 + seq, conversation_id="g:1", kind="text" if event is None else "member")
    )
    return plan_fanout(MESSAGE.peek(value), value, 0, state, event, threshold)


def decoded(outgoing: list) -> dict[str, Outbound]:  # type: ignore[type-arg]
    return {o.topic.removeprefix("im.outbound."): OUTBOUND.decode(o.value) for o in outgoing}


def test_a_text_goes_to_everyone_inside() -> None:
    """All members, the sender too: its other devices show it, this one learns its seq."""
    assert plan(a_group(), 2).users == ["alice", "bob", "cy"]


def test_who_joins_sees_the_join_and_who_leaves_sees_the_leave() -> None:
    """An event is seen by who is inside before or after it."""
    state = a_group()
    joined = plan(state, 2, MemberEvent(action="joined", by="alice", users=["dee"]))
    assert (joined.users, joined.joined) == (("alice", "bob", "cy", "dee"), ["dee"])
    left = plan(state, 3, MemberEvent(action="left", by="bob", users=["bob"]))
    assert (left.users, left.left) == (("alice", "cy", "dee", "bob"), ["bob"])
    assert plan(state, 4).users == ["alice", "cy", "dee"]


def test_one_record_for_each_gateway_with_the_users_it_holds() -> None:
    """Users on two gateways are named at both; users nowhere are named nowhere."""
    sent = decoded(address_small(plan(a_group(), 2), {"alice": ["gw-1"], "bob": ["gw-1", "gw-2"]}))
    assert {gateway: out.users for gateway, out in sent.items()} == {
        "gw-1": ["alice", "bob"],
        "gw-2": ["bob"],
    }
    assert all(
        (out.source_partition, out.source_offset, out.expand) == (0, 102, False) for out in sent.values()
    )


def test_the_sender_is_answered_even_without_a_route() -> None:
    """The gateway the message came through gets it in any case."""
    sent = decoded(address_small(plan(a_group(), 2), {"bob": ["gw-2"]}))
    assert {gateway: out.users for gateway, out in sent.items()} == {"gw-1": [], "gw-2": ["bob"]}


def test_who_asked_for_an_event_gets_it_even_without_a_route() -> None:
    """Before its `ok`, at the gateway it came through; not who may not see it."""
    left = plan(a_group(), 2, MemberEvent(action="left", by="bob", users=["bob"]))
    sent = decoded(address_small(left, {"alice": ["gw-1"], "cy": ["gw-2"]}))
    assert {gateway: out.users for gateway, out in sent.items()} == {"gw-1": ["alice", "bob"], "gw-2": ["cy"]}
    routed = decoded(address_small(left, {"bob": ["gw-1"]}))
    assert {gateway: out.users for gateway, out in routed.items()} == {"gw-1": ["bob"]}
    service = plan(a_group(), 2, MemberEvent(action="removed", by="service", users=["bob"]))
    assert decoded(address_small(service, {}))["gw-1"].users == []


def test_a_large_conversation_is_one_record_a_gateway_without_names() -> None:
    """Above the threshold nobody is named; the gateway expands by itself."""
    large = plan(a_group(), 2, threshold=2)
    sent = decoded(address_large(large, ["gw-1", "gw-2"], []))
    assert large.large
    assert large.users == ()
    assert set(sent) == {"gw-1", "gw-2"}
    assert all(out.expand and out.users == [] for out in sent.values())


def test_a_gateway_that_was_not_found_only_answers_the_author() -> None:
    """Its lease was over when a member left, and nobody told it: what it knows of the members is old."""
    text = plan(a_group(), 2, threshold=2)
    sent = decoded(address_large(text, ["gw-2"], ["alice", "bob", "cy"]))
    assert text.routing.gateway_id == "gw-1"
    assert (sent["gw-1"].expand, sent["gw-1"].users) == (False, [])
    leave = plan(a_group(), 2, MemberEvent(action="left", by="bob", users=["bob"]), threshold=2)
    sent = decoded(address_large(leave, [], []))
    assert (sent["gw-1"].expand, sent["gw-1"].users) == (False, ["bob"])


def test_who_left_a_large_conversation_finds_the_leave_when_he_comes_back() -> None:
    """It is no longer in his list of large ones, so his inbox has it; nobody else's has."""
    state = a_group()
    left = plan(state, 2, MemberEvent(action="removed", by="alice", users=["bob"]), threshold=2)
    touched, heads = index_entries([left, plan(state, 3, threshold=2)])
    assert touched == {"bob": {"g:1": left.routing.sent_at_ms}}
    assert heads["g:1"].seq == 3


def test_a_conversation_that_was_large_stays_large() -> None:
    """Falling below the threshold again does not switch back."""
    state = a_group()
    plan(state, 2, MemberEvent(action="removed", by="alice", users=["bob", "cy"]), threshold=2)
    assert plan(state, 3, threshold=2).large


def test_gateways_that_may_know_nothing_yet_are_told_every_member() -> None:
    """The record that makes a conversation large names everyone once."""
    sent = decoded(address_large(plan(a_group(), 2, threshold=2), ["gw-2"], ["alice", "bob", "cy"]))
    assert sent["gw-2"].users == ["alice", "bob", "cy"]
