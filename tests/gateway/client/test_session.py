"""The client's promises over any interleaving of frames, losses and reconnects."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.client import events
from gateway.client.outbox_store import MemoryStore
from gateway.client.session import Rules
from schemas import frames
from tests.gateway.client.model_server import CONVERSATIONS, World

ALICE_BOB = CONVERSATIONS[0]
A_WELCOME = frames.Welcome(
    user_id="alice",
    session_id="s",
    gateway_id="gw-1",
    server_time_ms=0,
    heartbeat_s=30,
    resumed=False,
    limits=frames.Limits(65_536, 4, 20, 60),
)
EventT = TypeVar("EventT", bound=events.Event)

OFTEN = ("submit", "other", "lost", "up", "down", "tick", "submit", "up", "up", "down", "down", "tick")
SELDOM = ("cut", "connect", "resume", "busy", "refused", "wait")
STEPS = st.lists(st.sampled_from((*OFTEN, *SELDOM)), max_size=120)


def play(world: World, steps: list[str]) -> None:
    for number, step in enumerate(steps):
        conversation_id = CONVERSATIONS[number % 2]
        match step:
            case "submit":
                world.submit(conversation_id, f"a{number}")
            case "other" | "lost":
                world.other_says(conversation_id, f"o{number}", lost=step == "lost")
            case "up":
                world.move_up()
            case "down":
                world.move_down()
            case "tick":
                world.tick()
            case "cut":
                world.cut()
            case "connect" | "resume":
                world.connect(resume=step == "resume")
            case "busy" | "refused":
                world.verdicts.append("busy" if step == "busy" else "refused")
            case _:
                world.pass_time(0.4)


def shown(world: World, conversation_id: str) -> list[str]:
    """The texts that came out of a conversation."""
    return [
        event.message.content["text"]
        for event in world.events
        if isinstance(event, events.MessageNew) and event.message.conversation_id == conversation_id
    ]


def of(world: World, kind: type[EventT]) -> list[EventT]:
    return [event for event in world.events if isinstance(event, kind)]


@settings(max_examples=300, deadline=None)
@given(steps=STEPS)
def test_every_message_comes_out_once_and_in_order(steps: list[str]) -> None:
    """Whatever is lost, repeated or cut, each conversation is shown as the server has it, without a gap."""
    world = World()
    play(world, steps)
    world.settle()
    for conversation_id in CONVERSATIONS:
        log = [message.content["text"] for message in world.logs[conversation_id]]
        assert shown(world, conversation_id) == log
    assert not of(world, events.Gap)


@settings(max_examples=300, deadline=None)
@given(steps=STEPS)
def test_every_send_ends_once_and_in_its_place(steps: list[str]) -> None:
    """Each send is sent once or rejected once, and the seqs of a conversation follow the order of submit."""
    world = World()
    play(world, steps)
    world.settle()
    ended = [
        event.client_msg_id
        for event in world.events
        if isinstance(event, events.MessageSent | events.MessageRejected)
    ]
    assert sorted(ended) == sorted(key for keys in world.submitted.values() for key in keys)
    for conversation_id, keys in world.submitted.items():
        stored = [m.client_msg_id for m in world.logs[conversation_id] if m.sender == "alice"]
        assert stored == [key for key in keys if key in stored]


@settings(max_examples=100, deadline=None)
@given(before=STEPS, after=STEPS)
def test_a_persisted_outbox_survives_the_process(before: list[str], after: list[str]) -> None:
    """A second process with the same outbox finishes the first one's sends: none twice, none out of order."""
    store = MemoryStore()
    first = World(store)
    play(first, before)
    first.cut()
    second = World(store)
    second.logs, second._placed, second._refused = first.logs, first._placed, first._refused
    second._sessions = 1
    play(second, [step for step in after if step != "submit"])
    second.settle()
    assert store.load() == []
    for conversation_id, keys in first.submitted.items():
        stored = [m.client_msg_id for m in second.logs[conversation_id] if m.sender == "alice"]
        assert stored == [key for key in keys if key in stored]
        assert set(keys) - set(stored) <= second._refused


def test_what_was_stored_long_ago_is_not_sent_again() -> None:
    """A send whose answer got lost is found in the history, even if the server forgot its client_msg_id."""
    world = connected()
    world.submit(ALICE_BOB, "hi")
    world.tick()
    world.move_up()
    world.cut()
    world.forget_ids()
    world.settle()
    assert [message.client_msg_id for message in world.logs[ALICE_BOB]] == ["hi"]
    assert len(of(world, events.MessageSent)) == 1


def connected(rules: Rules | None = None) -> World:
    world = World(rules=rules)
    world.settle()
    world.events.clear()
    return world


def test_a_lost_tail_is_found_by_the_next_pong() -> None:
    """A message whose delivery got lost, with nothing after it, comes out within one heartbeat."""
    world = connected()
    world.other_says(ALICE_BOB, "hello", lost=True)
    for _ in range(40):
        world.pass_time(0.8)
        world.move_up()
        world.move_down()
    assert shown(world, ALICE_BOB) == ["hello"]


def test_what_fell_between_two_connections_comes_out_soon() -> None:
    """Sent to the connection before, not stored yet when the sync read: no reason to wait for long."""
    world = connected()
    world.cut()
    world.connect()
    for passing_s in (*(0.0 for _ in range(10)), *(0.1 for _ in range(10))):
        if passing_s and not world.logs[ALICE_BOB]:
            world.other_says(ALICE_BOB, "hello", lost=True)
        world.pass_time(passing_s)
        world.move_up()
        world.move_down()
    assert shown(world, ALICE_BOB) == ["hello"]


def test_a_hole_that_is_too_large_becomes_a_gap() -> None:
    """More missing messages than may be fetched are skipped, and the application is told which."""
    world = connected(Rules(max_fill=3))
    world.other_says(ALICE_BOB, "first")
    for number in range(5):
        world.other_says(ALICE_BOB, f"missed {number}", lost=True)
    world.other_says(ALICE_BOB, "last")
    world.settle()
    assert of(world, events.Gap) == [events.Gap(ALICE_BOB, 2, 6)]
    assert shown(world, ALICE_BOB) == ["first", "last"]


def test_messages_that_are_gone_become_a_gap() -> None:
    """A hole that history does not fill, though it has what lies beyond, is given up after some questions."""
    world = connected()
    world.other_says(ALICE_BOB, "first")
    world.settle()
    later = _at(world.logs[ALICE_BOB][0], 9)
    world.logs[ALICE_BOB].append(later)
    world.session.receive(frames.Deliver(n=2, messages=[later]), world.now)
    world.settle()
    assert of(world, events.Gap) == [events.Gap(ALICE_BOB, 2, 8)]


def test_messages_that_are_not_stored_yet_are_waited_for() -> None:
    """A store that is away for a minute and a half makes no gap."""
    world = connected()
    world.other_says(ALICE_BOB, "first")
    world.settle()
    log = world.logs[ALICE_BOB]
    missed, last = _at(log[0], 2), _at(log[0], 3)
    world.session.receive(frames.Deliver(n=2, messages=[last]), world.now)
    world.settle()
    log += [missed, last]
    world.settle()
    assert of(world, events.Gap) == []
    assert len(shown(world, ALICE_BOB)) == 3


def test_deliveries_are_acked_together() -> None:
    """Several deliveries are acknowledged by one frame, about a second after the first."""
    world = connected()
    for number in range(3):
        world.other_says(ALICE_BOB, str(number))
        world.move_down()
    world.session.tick(world.now)
    assert world.session.frames_to_send() == []
    world.session.tick(world.now + 1.0)
    assert world.session.frames_to_send() == [frames.Ack(n=3)]


def test_a_temporary_refusal_waits_as_long_as_the_server_says() -> None:
    """A send that is refused for now goes again after `retry_after_ms` and some jitter, with the same id."""
    world = connected()
    world.submit(ALICE_BOB, "hi")
    world.tick()
    busy = frames.Rejected(
        client_msg_id="hi",
        conversation_id=ALICE_BOB,
        code=1301,
        name="",
        message="",
        temporary=True,
        retry_after_ms=2_000,
    )
    world.session.receive(busy, world.now)
    world.session.tick(world.now + 1.9)
    assert not any(isinstance(frame, frames.Send) for frame in world.session.frames_to_send())
    world.session.tick(world.now + 2.6)
    assert [f.client_msg_id for f in world.session.frames_to_send() if isinstance(f, frames.Send)] == ["hi"]


def test_a_late_refusal_fails_rather_than_being_overtaken() -> None:
    """A send refused after a later one may have passed it fails, told as temporary: order comes first."""
    world = connected()
    for text in ("first", "second"):
        world.submit(ALICE_BOB, text)
    world.session.tick(world.now)
    world.session.receive(frames.Accepted(client_msg_id="first", accepted_at_ms=0), world.now)
    world.session.tick(world.now)
    late = frames.Rejected(
        client_msg_id="first", conversation_id=ALICE_BOB, code=1303, name="", message="", temporary=True
    )
    world.session.receive(late, world.now)
    rejected = [e for e in world.session.take_events() if isinstance(e, events.MessageRejected)]
    assert [(event.client_msg_id, event.temporary) for event in rejected] == [("first", True)]


def test_what_was_read_is_said_again_after_a_reconnect() -> None:
    """A read cursor that went out on a connection that broke is written on the next one."""
    world = connected()
    world.session.read(ALICE_BOB, 7)
    world.tick()
    world.cut()
    world.connect()
    world.move_down()
    world.session.tick(world.now)
    assert frames.Read(conversation_id=ALICE_BOB, seq=7) in world.session.frames_to_send()


def test_an_overdue_answer_ends_the_connection() -> None:
    """A send without an answer makes the session ask to leave, so that nothing sticks for ever."""
    world = connected(Rules(answer_timeout_s=5.0))
    world.submit(ALICE_BOB, "hi")
    world.session.tick(world.now)
    assert world.session.leave_at == world.now + 5.0


def test_a_drained_connection_is_left_when_the_server_said() -> None:
    """A `drain` frame sets the time to leave."""
    world = connected()
    world.session.receive(frames.Drain(reconnect_after_ms=1_500), world.now)
    assert world.session.leave_at == world.now + 1.5


def test_an_own_change_of_a_group_is_shown() -> None:
    """The event of an own change, which the server answers by `ok` alone, is fetched and comes out once."""
    world = connected()
    world.other_says(ALICE_BOB, "hello")
    world.settle()
    changes = []
    for seq, name in ((2, "new"), (3, "newer")):
        number = world.session.request(partial(_rename, name), world.now)
        content: dict[str, object] = {"action": "renamed", "by": "alice", "name": name}
        changes.append(_at(world.logs[ALICE_BOB][0], seq, "group", content))
        world.logs[ALICE_BOB].append(changes[-1])
        world.session.receive(frames.Ok(re=number, conversation_id=ALICE_BOB), world.now)
    world.settle()
    shown_changes = [e.change for e in of(world, events.ConversationUpdated) if e.change]
    assert shown_changes == changes
    assert not of(world, events.Gap)


def test_an_own_change_that_was_delivered_first_leaves_no_hole() -> None:
    """The server delivers the event and then says `ok`: nothing is waited for that does not exist."""
    world = connected()
    world.other_says(ALICE_BOB, "hello")
    world.settle()
    number = world.session.request(partial(_rename, "new"), world.now)
    content: dict[str, object] = {"action": "renamed", "by": "alice", "name": "new"}
    change = _at(world.logs[ALICE_BOB][0], 2, "group", content)
    world.logs[ALICE_BOB].append(change)
    world.session.receive(frames.Deliver(n=2, messages=[change]), world.now)
    world.session.receive(frames.Ok(re=number, conversation_id=ALICE_BOB), world.now)
    world.settle()
    assert not of(world, events.Gap)


def test_a_new_group_begins_where_its_user_came_in() -> None:
    """When the first deliveries of a new group were missed, the history is asked for them."""
    world = connected()
    world.settle()
    world.other_says(ALICE_BOB, "hello")
    world.settle()
    said = world.logs[ALICE_BOB][0]
    team = [msgspec.structs.replace(said, conversation_id="g:team", seq=seq) for seq in (1, 2, 3)]
    world.logs["g:team"] = team
    world.session.receive(frames.Deliver(n=2, messages=[team[2]]), world.now)
    world.settle()
    came = [e.message for e in of(world, events.MessageNew) if e.message.conversation_id == "g:team"]
    assert [message.seq for message in came] == [1, 2, 3]


def test_a_group_that_the_list_left_out_is_shown_whole_when_its_leave_comes() -> None:
    """Its user had left when the list was read; the next sync shows what came after the token: the leave."""
    world = connected()
    world.settle()
    world.session.disconnected(world.now)
    world.session.receive(A_WELCOME, world.now)
    world.session.tick(world.now)
    (sync,) = [frame for frame in world.session.frames_to_send() if isinstance(frame, frames.Sync)]
    said = [a_said(seq, 1_000 * seq) for seq in (1, 2, 3)]
    page = frames.Page(messages=said[2:], conversations=[], token="t", more=False, reset=False, re=sync.id)
    world.session.take_events()
    world.session.receive(page, world.now)
    world.session.tick(world.now)
    (ask,) = [frame for frame in world.session.frames_to_send() if isinstance(frame, frames.History)]
    answer = frames.HistoryPage(conversation_id="g:team", messages=said[::-1], more=False, re=ask.id)
    world.session.receive(answer, world.now)
    came = [e.message.seq for e in world.session.take_events() if isinstance(e, events.MessageNew)]
    assert came == [1, 2, 3]


def restarted(known_ms: int) -> World:
    """A client that goes on from a token, and has everything before this time."""
    world = World()
    world.session.receive(A_WELCOME, world.now)
    page = frames.Page(messages=[], conversations=[], token="t", more=False, reset=False, until_ms=known_ms)
    world.session.token = "earlier"
    world.session.tick(world.now)
    sync = next(frame for frame in world.session.frames_to_send() if isinstance(frame, frames.Sync))
    world.session.receive(msgspec.structs.replace(page, re=sync.id), world.now)
    return world


def test_another_run_misses_no_first_message() -> None:
    """Of an unknown conversation it shows what is newer than its token, also what was not delivered."""
    world = restarted(known_ms=5_000)
    team = [a_said(seq, 1_000 * seq) for seq in range(3, 9)]
    world.session.receive(frames.Deliver(n=1, messages=[team[-1]]), world.now)
    assert world.session.take_events() == [events.StateChanged("connected", resumed=False)]
    assert world.session.kept_token is None
    world.session.tick(world.now)
    (ask,) = [frame for frame in world.session.frames_to_send() if isinstance(frame, frames.History)]
    answer = frames.HistoryPage(conversation_id="g:team", messages=team[::-1], more=False, re=ask.id)
    world.session.receive(answer, world.now)
    came = [e.message.seq for e in world.session.take_events() if isinstance(e, events.MessageNew)]
    assert came == [5, 6, 7, 8]
    assert world.session.kept_token == "t"


def test_a_refused_send_whose_answer_was_lost_does_not_go_after_a_later_one() -> None:
    """It ends as rejected when the history shows that the later one has its place."""
    world = connected()
    for text in ("first", "second"):
        send = frames.Send(client_msg_id=text, conversation_id="g:team", kind="text", content={"text": text})
        world.session.submit(send)
        world.session.tick(world.now)
        world.session.receive(frames.Accepted(client_msg_id=text, accepted_at_ms=0), world.now)
    world.session.disconnected(world.now)
    world.session.receive(A_WELCOME, world.now)
    world.session.tick(world.now)
    (ask,) = [frame for frame in world.session.frames_to_send() if isinstance(frame, frames.History)]
    second = msgspec.structs.replace(a_said(1, 0), sender="alice", client_msg_id="second")
    answer = frames.HistoryPage(conversation_id="g:team", messages=[second], more=False, re=ask.id)
    world.session.receive(answer, world.now)
    ends = [
        event
        for event in world.session.take_events()
        if isinstance(event, events.MessageSent | events.MessageRejected)
    ]
    assert [(type(e).__name__, e.client_msg_id) for e in ends] == [
        ("MessageSent", "second"),
        ("MessageRejected", "first"),
    ]


def test_what_is_said_after_leaving_is_no_gap() -> None:
    """The history shows the return first, and what was said before it is not missed."""
    assert came_back(added_again_at=None) == [2, 9, 10]


def test_a_return_that_was_missed_is_found_behind_a_second_addition() -> None:
    """Being added says nothing of where one came in: he may have been in already."""
    assert came_back(added_again_at=11) == [2, 9, 10, 11]


def test_a_history_that_lags_says_nothing_of_a_return() -> None:
    """It shows nothing yet of where she came in; what was delivered may be a second addition."""
    assert came_back(added_again_at=11, lags=True) == [2, 9, 10, 11]


def test_a_return_that_only_a_head_tells_of_is_looked_up() -> None:
    """Its delivery was lost; the history has it."""
    world, left = world_outside()
    back: dict[str, object] = {"action": "joined", "by": "bob", "users": ["alice"]}
    world.logs[ALICE_BOB] += [left, _at(left, 3, "member", back)]
    world.session.receive(frames.Pong(server_time_ms=0, token="", heads={ALICE_BOB: 3}), world.now)
    world.settle()
    changes = [event.change for event in of(world, events.ConversationUpdated) if event.change is not None]
    assert [change.seq for change in changes] == [2, 3]


def test_what_is_said_outside_is_no_gap() -> None:
    """A head is told, and the history shows nothing of what lies before it."""
    world, _ = world_outside()
    world.session.receive(frames.Pong(server_time_ms=0, token="", heads={ALICE_BOB: 7}), world.now)
    world.settle()
    assert of(world, events.Gap) == []


def world_outside() -> tuple[World, frames.Message]:
    """Alice saw the first message, and that she was removed."""
    world = connected()
    world.other_says(ALICE_BOB, "hello")
    world.settle()
    content: dict[str, object] = {"action": "removed", "by": "bob", "users": ["alice"]}
    left = _at(world.logs[ALICE_BOB][0], 2, "member", content)
    world.session.receive(frames.Deliver(n=2, messages=[left]), world.now)
    return world, left


def came_back(added_again_at: int | None, *, lags: bool = False) -> list[int]:
    """What comes out for alice, who was removed at 2 and added at 9, and maybe once more; `lags`: the history
    shows that only the second time it is asked."""
    world = connected()
    world.other_says(ALICE_BOB, "hello")
    world.settle()
    world.session.take_events()
    first = world.logs[ALICE_BOB][0]
    left = _at(first, 2, "member", {"action": "removed", "by": "bob", "users": ["alice"]})
    back = _at(first, 9, "member", {"action": "joined", "by": "bob", "users": ["alice"]})
    seen = [back, _at(first, 10)]
    world.session.receive(frames.Deliver(n=2, messages=[left]), world.now)
    delivered = seen
    if added_again_at is not None:
        delivered = [msgspec.structs.replace(back, seq=added_again_at)]
        seen = [*seen, *delivered]
    world.session.receive(frames.Deliver(n=3, messages=delivered), world.now)
    for later_s, stored in ((1.0, [] if lags else seen), (2.0, seen))[: 1 + lags]:
        world.session.tick(world.now + later_s)
        (ask,) = [frame for frame in world.session.frames_to_send() if isinstance(frame, frames.History)]
        page = frames.HistoryPage(
            conversation_id=ALICE_BOB, messages=stored[: ask.limit], more=False, re=ask.id
        )
        world.session.receive(page, world.now + later_s)
    came: list[int] = []
    for event in world.session.take_events():
        if isinstance(event, events.MessageNew):
            came.append(event.message.seq)
        elif isinstance(event, events.ConversationUpdated) and event.change is not None:
            came.append(event.change.seq)
    return came


def test_a_frame_of_an_unknown_shape_is_ignored() -> None:
    """An answer to nothing and an answer without `re` change nothing."""
    world = connected()
    world.session.receive(frames.Ok(re="not mine"), world.now)
    world.session.receive(frames.Ok(), world.now)
    assert world.session.take_events() == []
    assert world.session.take_replies() == []


def _rename(name: str, number: int) -> frames.GroupRename:
    return frames.GroupRename(conversation_id=ALICE_BOB, name=name, id=number)


def _at(
    message: frames.Message, seq: int, kind: str = "text", content: dict[str, object] | None = None
) -> frames.Message:
    return msgspec.structs.replace(message, seq=seq, kind=kind, content=content or message.content)


def a_said(seq: int, sent_at_ms: int) -> frames.Message:
    return frames.Message(
        conversation_id="g:team",
        seq=seq,
        message_id=f"m{seq}",
        client_msg_id=f"c{seq}",
        sender="bob",
        kind="text",
        content={"text": "hi"},
        sent_at_ms=sent_at_ms,
    )
