"""One session, with bytes and times in and bytes out."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.session import TRANSITIONS, Session, State
from gateway.waiting import MAX_WAITING
from schemas.codes import CloseCode, Code
from schemas.errors import Refused
from schemas.frames import JSON, MSGPACK, Ack, Ok, Rejected, Sent
from tests.builders import a_message
from tests.gateway.makers import a_delivery, a_session, opened, written

SENT = Sent(client_msg_id="m1", conversation_id="g:t", seq=3, message_id="id", sent_at_ms=5)
REJECTED = Rejected(
    client_msg_id="m1", conversation_id="g:t", code=1201, name="moderated", message="no", temporary=False
)


def test_every_state_is_reached_and_closed_is_final() -> None:
    """The table leads everywhere, and nowhere from CLOSED."""
    assert set(TRANSITIONS.values()) | {State.OPENING} == set(State)
    assert {to for (state, _), to in TRANSITIONS.items() if state is State.CLOSED} == {State.CLOSED}


def test_the_welcome_is_the_first_frame() -> None:
    """What is delivered before waits, and comes after it."""
    session = a_session(heartbeat_s=20)
    session.deliver(a_delivery(1))
    assert not session.outbox
    session.welcome(0.0, 1_000)
    welcome, deliver = written(session)
    assert (welcome["type"], welcome["resumed"], welcome["heartbeat_s"]) == ("welcome", False, 20)
    assert (welcome["session_id"], welcome["server_time_ms"]) == ("s1", 1_000)
    assert welcome["limits"] == {
        "max_frame_bytes": 65_536,
        "max_inflight": 512,
        "sends_per_s": 20,
        "send_burst": 60,
    }
    assert (deliver["type"], deliver["n"]) == ("deliver", 1)


def test_a_resumed_session_goes_on_counting() -> None:
    """Unacked deliveries come again with their old n, then what came during the cut, then new ones."""
    session = opened(a_session())
    for seq in (1, 2, 3):
        session.deliver(a_delivery(seq))
    session.acknowledge(1)
    session.outbox.take()
    session.cut(5.0, by_client=False)
    session.deliver(a_delivery(4))
    session.send(SENT)
    session.welcome(6.0, 2_000)
    session.deliver(a_delivery(5))
    frames = written(session)
    assert [(f["type"], f.get("n")) for f in frames] == [
        ("welcome", None),
        ("deliver", 2),
        ("deliver", 3),
        ("deliver", 4),
        ("sent", None),
        ("deliver", 5),
    ]
    assert frames[0]["resumed"] is True


def test_a_cut_session_ends_with_its_window() -> None:
    """30 s after the cut it is gone; a polite goodbye ends it at once."""
    session = opened(a_session())
    session.cut(10.0, by_client=False)
    states = []
    for now in (39.0, 41.0):
        session.tick(now, 0)
        states.append(session.state)
    assert states == [State.CUT, State.CLOSED]
    polite = opened(a_session())
    polite.cut(10.0, by_client=True)
    assert polite.state is State.CLOSED


@pytest.mark.parametrize(
    "code", [c for c in CloseCode if c not in (CloseCode.HEARTBEAT_LOST, CloseCode.DRAIN)]
)
def test_a_session_closed_for_a_reason_is_not_resumed(code: CloseCode) -> None:
    """Only a lost heartbeat and a drain leave something to resume."""
    session = opened(a_session())
    session.close(code)
    session.cut(1.0, by_client=False)
    assert session.state is State.CLOSED


def test_silence_closes_after_one_and_a_half_heartbeats() -> None:
    """Any frame counts as a sign of life."""
    session = opened(a_session(heartbeat_s=10))
    session.tick(14.9, 0)
    assert session.closing is None
    session.receive(b'{"type":"ping"}', True, 14.9)
    session.tick(29.0, 0)
    assert session.closing is None
    session.tick(30.0, 0)
    assert session.closing is CloseCode.HEARTBEAT_LOST


def test_each_session_has_its_own_heartbeat() -> None:
    """What was agreed with this client holds for it."""
    session = a_session(heartbeat_s=10)
    session.heartbeat_s = 100
    opened(session).tick(149.0, 0)
    assert session.closing is None
    session.tick(151.0, 0)
    assert session.closing is CloseCode.HEARTBEAT_LOST


def test_a_token_that_ends_closes_the_session() -> None:
    """4500, after the leeway."""
    session = opened(a_session(expires_at_ms=100_000))
    session.tick(1.0, 130_000)
    assert session.closing is None
    session.tick(1.0, 130_001)
    assert session.closing is CloseCode.BAD_TOKEN


def test_unacknowledged_deliveries_come_again_and_then_the_connection_is_closed() -> None:
    """Three times the same frame with the same n, then 4002."""
    session = opened(a_session(heartbeat_s=1_000))
    session.deliver(a_delivery(1, at=0.0))
    first = session.outbox.take()
    for now in (18.0, 36.0):
        session.tick(now, 0)
        assert session.outbox.take() == first
    session.tick(54.0, 0)
    assert session.closing is CloseCode.ACK_TIMEOUT


def test_who_leaves_too_much_unacknowledged_is_closed_as_a_slow_reader() -> None:
    """Bounded in bytes; nothing durable is lost, the client syncs."""
    session = opened(a_session(outbox_bytes=1_000))
    for seq in range(1, 30):
        session.deliver(a_delivery(seq))
    assert session.closing is CloseCode.SLOW_READER


def test_ephemeral_frames_are_dropped_for_a_congested_reader() -> None:
    """And while there is no connection; durable ones are not."""
    session = opened(a_session())
    session.outbox.congested = True
    assert not session.put_ephemeral(b"x")
    session.put(b"y")
    assert session.outbox.take() == b"y"
    session.outbox.congested = False
    assert session.put_ephemeral(b"x")
    session.cut(0.0, by_client=False)
    assert not session.put_ephemeral(b"x")


def test_what_a_cut_session_is_owed_is_bounded() -> None:
    """More answers than the outbox holds end it; the client then begins anew."""
    session = opened(a_session(outbox_bytes=500))
    session.cut(0.0, by_client=False)
    for _ in range(10):
        session.send(SENT)
    assert session.state is State.CLOSED


# Answers


def test_answers_carry_the_id_of_the_request() -> None:
    """`re` has the value and type of `id`; without an id there is none."""
    session = opened(a_session())
    for client_msg_id, re in (("m1", 7), ("m2", "x"), ("m3", None)):
        session.waiting.expect(client_msg_id, re, request=False)
        session.accepted(client_msg_id, 9)
        session.sent(a_message(client_msg_id=client_msg_id))
    assert [f.get("re") for f in written(session)] == [7, 7, "x", "x", None, None]
    assert session.waiting.inflight == 0


def test_a_request_is_answered_once_its_event_has_its_place() -> None:
    """No `accepted` for it; `sent` becomes `ok`, `rejected` becomes `error`."""
    session = opened(a_session())
    session.waiting.expect("m1", "r", request=True)
    session.accepted("m1", 9)
    assert not session.outbox
    session.answer_sent(SENT)
    session.waiting.expect("m1", "r", request=True)
    session.rejected(REJECTED)
    ok, error = written(session)
    assert (ok["type"], ok["re"], ok["conversation_id"]) == ("ok", "r", "g:t")
    assert (error["type"], error["re"], error["code"], error["name"]) == ("error", "r", 1201, "moderated")


def test_a_request_is_answered_once() -> None:
    """Whatever is said of it again: the log may have taken it twice or say so late, a worker may have judged
    it twice."""
    session = opened(a_session())
    session.waiting.expect("m1", "r", request=True)
    session.rejected(REJECTED)
    session.rejected(REJECTED)
    session.answer_sent(SENT)
    session.accepted("m1", 9)
    assert [f["type"] for f in written(session)] == ["error"]


def test_a_try_is_refused_once() -> None:
    """A worker that took over says it again: the client would take that for the answer to its next try."""
    session = opened(a_session())
    first, later = (msgspec.structs.replace(REJECTED, message_id=name) for name in ("try-1", "try-2"))
    for rejected in (first, first, later, first):
        session.rejected(rejected)
    assert [f["message_id"] for f in written(session)] == ["try-1", "try-2"]


def test_a_repeat_is_answered_like_the_first() -> None:
    """`sent` and `rejected` for an id nobody waits for any more are passed on."""
    session = opened(a_session())
    session.answer_sent(SENT)
    session.rejected(REJECTED)
    assert [f["type"] for f in written(session)] == ["sent", "rejected"]


def test_too_many_unanswered_sends_are_refused() -> None:
    """`max_inflight` counts those without `accepted`; requests that wait are bounded too."""
    session = opened(a_session(max_inflight=2))
    for number in range(2):
        session.admit_send()
        session.waiting.expect(f"m{number}", None, request=False)
    with pytest.raises(Refused) as refused:
        session.admit_send()
    assert refused.value.code is Code.OVERLOADED
    session.accepted("m0", 1)
    session.admit_send()
    patient = opened(a_session(max_inflight=10 * MAX_WAITING))
    for number in range(MAX_WAITING):
        patient.waiting.expect(f"m{number}", None, request=True)
    with pytest.raises(Refused):
        patient.admit_send()


def test_requests_are_rated_but_not_for_the_service_itself() -> None:
    """1301 with a time to wait; the role `server` has no limit."""
    session, server = opened(a_session(send_burst=2)), opened(a_session(role="server", send_burst=2))
    for _ in range(4):
        session.admit_request(0.0)
    with pytest.raises(Refused) as refused:
        session.admit_request(0.0)
    assert refused.value.code is Code.RATE_LIMITED
    assert refused.value.retry_after_ms
    for _ in range(100):
        server.admit_request(0.0)


# Bad frames


@pytest.mark.parametrize(
    ("data", "text", "code", "frame_type"),
    [
        (b"", True, 1001, "error"),
        (b"[]", True, 1001, "error"),
        (b"\xff", True, 1001, "error"),
        (b'{"type":"ping"}', False, 1001, "error"),
        (b'{"type":"nothing","id":3}', True, 1003, "error"),
        (b'{"type":"nothing","client_msg_id":"m"}', True, 1003, "error"),
        (b'{"type":"ack"}', True, 1001, "error"),
        (b'{"type":"ack","n":-1}', True, 1001, "error"),
        (b'{"type":"ack","n":1}', True, 1001, "error"),
        (b'{"type":"send","client_msg_id":"m"}', True, 1001, "rejected"),
        (b'{"type":"edit","client_msg_id":"m","seq":"x"}', True, 1001, "rejected"),
        (b'{"type":"send","client_msg_id":"' + b"m" * 70_000 + b'"}', True, 1002, "error"),
        (b'{"type":"send","client_msg_id":"m","x":"' + b"y" * 70_000 + b'"}', True, 1002, "rejected"),
        (b"[" * 60_000, True, 1001, "error"),
    ],
)
def test_a_bad_frame_is_answered_by_its_code(data: bytes, text: bool, code: int, frame_type: str) -> None:
    """`rejected` when it is a send whose client_msg_id can be read, else `error`; the connection stays."""
    session = opened(a_session())

    def handle() -> None:
        frame = session.receive(data, text, 0.0)
        assert isinstance(frame, Ack)
        session.acknowledge(frame.n)

    with pytest.raises(Refused) as refused:
        handle()
    session.refuse(refused.value, data, 0.0)
    (answer,) = written(session)
    assert (answer["type"], answer["code"]) == (frame_type, code)
    assert session.closing is None


def test_a_repeated_offender_is_closed() -> None:
    """20 bad frames at once are forgiven; one more is 4503."""
    session = opened(a_session())
    for _ in range(20):
        session.refuse(Refused(Code.BAD_FRAME), b"?", 0.0)
    assert session.closing is None
    session.refuse(Refused(Code.BAD_FRAME), b"?", 0.0)
    assert session.closing is CloseCode.PROTOCOL_ERROR


def test_a_busy_client_is_only_told_to_wait() -> None:
    """Frames over a rate weigh little: hundreds of them close nothing."""
    session = opened(a_session())
    for _ in range(900):
        session.refuse(Refused(Code.RATE_LIMITED), b"?", 0.0)
    assert session.closing is None


@given(st.binary(max_size=300), st.booleans())
def test_no_frame_of_a_client_breaks_a_session(data: bytes, text: bool) -> None:
    """Any bytes end in a frame or in `Refused`, and the answer can be encoded."""
    for codec in (JSON, MSGPACK):
        session = opened(a_session(codec=codec))
        try:
            session.receive(data, text, 0.0)
        except Refused as refused:
            session.refuse(refused, data, 0.0)
            assert written(session)


class Reader:
    """A client of one session: takes what arrives, drops repeats of n, and never sees a gap."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.seen = 0
        self.delivered = 0
        self.now = 0.0

    def deliver(self) -> None:
        self.delivered += 1
        self.session.deliver(a_delivery(self.delivered, at=self.now))

    def read(self) -> None:
        for frame in written(self.session):
            if frame["type"] == "deliver":
                assert frame["n"] <= self.seen + 1
                self.seen = max(self.seen, frame["n"])

    def ack(self) -> None:
        if self.session.state is State.OPEN:
            self.read()
            self.session.acknowledge(self.seen)

    def cut(self) -> None:
        if self.session.state is State.OPEN:
            self.session.outbox.take()
            self.session.cut(self.now, by_client=False)

    def resume(self) -> None:
        if self.session.state is State.CUT:
            self.session.welcome(self.now, 0)

    def answer(self) -> None:
        self.session.send(Ok(re=1))

    def tick(self) -> None:
        self.session.tick(self.now, 0)


STEPS = [Reader.deliver, Reader.deliver, Reader.ack, Reader.cut, Reader.resume, Reader.answer, Reader.tick]


@given(st.lists(st.sampled_from(STEPS), max_size=60))
def test_deliveries_are_complete_and_in_order_through_any_cuts(steps: list[Callable[[Reader], None]]) -> None:
    """A client that drops repeats of n sees 1, 2, 3 … without a gap, whatever is cut and resumed."""
    reader = Reader(opened(a_session(heartbeat_s=10_000)))
    for step in steps:
        reader.now += 0.5
        step(reader)
    reader.resume()
    reader.read()
    assert reader.seen == reader.delivered


def test_an_answer_fits_the_subprotocol() -> None:
    """A msgpack session gets msgpack."""
    session = opened(a_session(codec=MSGPACK))
    session.send(SENT)
    session.deliver(a_delivery(1))
    sent, deliver = written(session)
    assert sent["type"] == "sent"
    assert msgspec.convert(deliver["messages"][0]["content"], dict[str, str]) == {"text": "hi"}
