"""Who gets what."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.hub import MAX_SHARED_MESSAGES, Hub
from gateway.metrics import Metrics
from gateway.session import Session
from schemas.frames import JSON, MSGPACK, Receipt
from schemas.records import Outbound
from tests.builders import a_message, framed
from tests.gateway.makers import a_session, opened, written


def a_hub(*users: str, **settings: Any) -> tuple[Hub, dict[str, Session]]:
    """A hub with one session for each of these users, named like them."""
    hub = Hub(Metrics())
    sessions = {user: opened(a_session(user, user, touched=hub.touched, **settings)) for user in users}
    for session in sessions.values():
        hub.add(session)
    return hub, sessions


def outbound(seq: int, users: list[str], expand: bool = False, **fields: Any) -> Outbound:
    fields = {"session_id": "elsewhere", "conversation_id": "g:t"} | fields
    return Outbound("message", framed(a_message(seq=seq, **fields)), users, 0, seq, expand)


def event(seq: int, to: list[str], expand: bool = True, **content: Any) -> Outbound:
    kind = "group" if content["action"] == "created" else "member"
    text = msgspec.json.encode({"by": "alice"} | content).decode()
    return outbound(seq, to, expand, kind=kind, content=text)


def seqs(session: Session) -> list[list[int]]:
    """For each deliver frame its seqs; None of them is anything else."""
    return [[m["seq"] for m in f["messages"]] for f in written(session) if f["type"] == "deliver"]


def test_messages_that_arrive_together_share_a_frame() -> None:
    """Those of one conversation for the same users, in order."""
    hub, sessions = a_hub("alice", "bob")
    hub.dispatch([outbound(seq, ["alice", "bob"]) for seq in (1, 2, 3)], 0.0)
    assert seqs(sessions["alice"]) == seqs(sessions["bob"]) == [[1, 2, 3]]


def test_a_change_of_targets_begins_another_frame() -> None:
    """And the order within the conversation stays."""
    hub, sessions = a_hub("alice", "bob")
    hub.dispatch([outbound(1, ["alice"]), outbound(2, ["alice", "bob"]), outbound(3, ["alice", "bob"])], 0.0)
    assert seqs(sessions["alice"]) == [[1], [2, 3]]
    assert seqs(sessions["bob"]) == [[2, 3]]


def test_a_frame_is_bounded() -> None:
    """In messages."""
    hub, sessions = a_hub("alice")
    hub.dispatch([outbound(seq, ["alice"]) for seq in range(1, 2 * MAX_SHARED_MESSAGES + 2)], 0.0)
    assert [len(frame) for frame in seqs(sessions["alice"])] == [MAX_SHARED_MESSAGES, MAX_SHARED_MESSAGES, 1]


def test_the_sender_gets_sent_in_place_of_his_own_messages() -> None:
    """And deliveries of the others, counted without a gap."""
    hub, sessions = a_hub("alice", "bob")
    both = ["alice", "bob"]
    hub.dispatch(
        [outbound(1, both, session_id="alice"), outbound(2, both, session_id="bob"), outbound(3, both)], 0.0
    )
    alice, bob = written(sessions["alice"]), written(sessions["bob"])
    assert [(f["type"], f.get("seq"), f.get("n")) for f in alice] == [("sent", 1, None), ("deliver", None, 1)]
    assert [m["seq"] for m in alice[1]["messages"]] == [2, 3]
    assert [m["seq"] for m in bob[1]["messages"]] == [1, 3]


@pytest.mark.parametrize("expand", [False, True])
def test_an_answer_brings_nobody_what_is_not_for_him(expand: bool) -> None:
    """Right after the table was lost nobody is located here, and both are answered all the same: bob was
    removed between the two, and that event came to no gateway."""
    hub, sessions = a_hub("alice", "bob")
    hub.dispatch(
        [outbound(1, [], expand, session_id="bob"), outbound(3, [], expand, session_id="alice")], 0.0
    )
    frames = {name: [(f["type"], f.get("seq")) for f in written(s)] for name, s in sessions.items()}
    assert frames == {"alice": [("sent", 3)], "bob": [("sent", 1)]}


def test_who_asked_for_a_change_gets_its_event_and_then_ok() -> None:
    """So that its seqs have no hole."""
    hub, sessions = a_hub("alice", "bob")
    alice = sessions["alice"]
    alice.waiting.expect("m1", "r", request=True)
    alice.accepted("m1", 9)
    asked: dict[str, Any] = {"session_id": "alice", "client_msg_id": "m1"}
    content = '{"action":"left","by":"alice","users":["alice"]}'
    hub.dispatch([outbound(1, ["alice", "bob"], kind="member", content=content, **asked)], 0.0)
    deliver, ok = written(alice)
    assert (deliver["type"], deliver["n"], deliver["messages"][0]["seq"]) == ("deliver", 1, 1)
    assert (ok["type"], ok["re"]) == ("ok", "r")
    assert seqs(sessions["bob"]) == [[1]]


def test_a_large_conversation_is_expanded_from_the_index() -> None:
    """Who joins is indexed with the event, who leaves gets the event and nothing after it."""
    hub, sessions = a_hub("alice", "bob", "carol")
    hub.dispatch(
        [
            event(1, ["alice"], action="created", name="T", members=["bob"]),
            outbound(2, ["alice"], expand=True),
            event(3, ["alice"], action="joined", users=["carol", "absent"]),
            outbound(4, ["alice"], expand=True),
            event(5, ["alice", "bob"], action="removed", users=["bob"]),
            outbound(6, ["alice"], expand=True),
        ],
        0.0,
    )
    assert seqs(sessions["alice"]) == [[1], [2], [3], [4], [5], [6]]
    assert seqs(sessions["bob"]) == [[1], [2], [3], [4], [5]]
    assert seqs(sessions["carol"]) == [[3], [4], [5], [6]]
    assert hub.readers.of("g:t") == {"alice": 1, "carol": 3}


def test_a_leave_in_small_mode_is_seen_by_the_index_too() -> None:
    """So that a group that is large again later does not reach who left in between."""
    hub, sessions = a_hub("alice", "bob")
    hub.add_readers("g:t", ["alice", "bob"], 1)
    hub.dispatch([event(1, ["alice", "bob"], expand=False, action="left", users=["bob"])], 0.0)
    hub.dispatch([outbound(2, ["alice"], expand=True)], 0.0)
    assert seqs(sessions["bob"]) == [[1]]


def test_who_joins_again_is_shown_nothing_from_before() -> None:
    """The route table tells of the join (4) while the messages before it are still on their way here."""
    hub, sessions = a_hub("alice", "bob")
    hub.add_readers("g:t", ["alice"], 1)
    hub.add_readers("g:t", ["bob"], 4)
    hub.dispatch([outbound(seq, [], expand=True) for seq in (2, 3)], 0.0)
    hub.dispatch([event(4, [], action="joined", users=["bob"]), outbound(5, [], expand=True)], 0.0)
    assert seqs(sessions["alice"]) == [[2, 3], [4], [5]]
    assert seqs(sessions["bob"]) == [[4], [5]]


def test_a_frame_is_cut_where_a_reader_begins() -> None:
    """Also when the join between its messages went elsewhere, and also for who wrote one of them."""
    hub, sessions = a_hub("alice", "bob", "carol")
    hub.add_readers("g:t", ["alice"], 1)
    hub.add_readers("g:t", ["bob", "carol"], 4)
    hub.dispatch(
        [
            outbound(3, [], expand=True),
            outbound(4, [], expand=True),
            outbound(5, [], expand=True, session_id="carol"),
        ],
        0.0,
    )
    assert seqs(sessions["alice"]) == [[3, 4, 5]]
    assert seqs(sessions["bob"]) == [[4, 5]]
    assert seqs(sessions["carol"]) == [[4]]


def test_who_is_named_gets_it_whatever_the_index_says() -> None:
    """Fan-out knows who is inside at each message."""
    hub, sessions = a_hub("bob")
    hub.add_readers("g:t", ["bob"], 4)
    hub.dispatch([outbound(3, ["bob"], expand=True)], 0.0)
    assert seqs(sessions["bob"]) == [[3]]


def test_an_old_leave_takes_no_reader_out_who_is_back() -> None:
    """It ends the stay before the one the route table told of; a later one ends that too."""
    hub, sessions = a_hub("bob")
    hub.add_readers("g:t", ["bob"], 4)
    hub.dispatch([event(2, ["bob"], action="left", users=["bob"]), outbound(5, [], expand=True)], 0.0)
    hub.dispatch([event(6, ["bob"], action="left", users=["bob"]), outbound(7, [], expand=True)], 0.0)
    assert seqs(sessions["bob"]) == [[2], [5], [6]]


def test_who_is_a_reader_goes_on_reading_when_the_table_tells_of_a_later_stay() -> None:
    """His other device just came: what is before the leave is his to see, what is between is not."""
    hub, sessions = a_hub("bob")
    hub.add_readers("g:t", ["bob"], 1)
    hub.add_readers("g:t", ["bob"], 5)
    hub.dispatch([outbound(2, [], expand=True), event(3, ["bob"], action="left", users=["bob"])], 0.0)
    hub.dispatch([outbound(4, [], expand=True), event(5, ["bob"], action="joined", users=["bob"])], 0.0)
    hub.dispatch([outbound(6, [], expand=True)], 0.0)
    assert seqs(sessions["bob"]) == [[2], [3], [5], [6]]


def test_who_disconnects_is_no_reader_any_more() -> None:
    """The last session of a user takes the user out of every index."""
    hub, sessions = a_hub("alice", "bob")
    hub.add_readers("g:t", ["alice", "bob"], 1)
    hub.remove(sessions["bob"])
    hub.remove(sessions["bob"])
    assert hub.readers.of("g:t") == {"alice": 1}
    hub.remove(sessions["alice"])
    assert hub.readers.conversations() == []


def test_an_index_is_announced_by_its_first_reader_only() -> None:
    """So that the route table is told once."""
    hub, _ = a_hub("alice", "bob")
    assert not hub.add_readers("g:t", ["absent"], 1)
    assert hub.add_readers("g:t", ["alice"], 1)
    assert not hub.add_readers("g:t", ["bob"], 1)


def test_a_frame_for_users_leaves_out_the_one_who_knows() -> None:
    """`not_session_id`; msgpack sessions get msgpack."""
    hub, sessions = a_hub("alice")
    packed = opened(a_session("alice", "packed", codec=MSGPACK, touched=hub.touched))
    hub.add(packed)
    body = JSON.encode(Receipt(conversation_id="d:alice:bob", user_id="bob", read_seq=3))
    hub.dispatch([Outbound("frame", body, ["alice"], not_session_id="alice", ephemeral=True)], 0.0)
    assert written(sessions["alice"]) == []
    assert written(packed)[0]["read_seq"] == 3
