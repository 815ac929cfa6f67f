"""The load generator's accounts: what is planted is reported, what is not is not."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.load.ledger import SendLedger, SeqLedger
from gateway.client.load.page import render
from gateway.client.load.report import Environment, Report, latency_of, losses
from gateway.client.load.share import ConversationCount, Outcome
from gateway.client.load.tails import TailBook
from gateway.client.load.wire import client_frame, mark, mark_due_us, send_frame
from schemas.frames import JSON, Deliver, Message, Send

RUN = "0123abcd"


def see(seqs: list[int]) -> SeqLedger:
    ledger = SeqLedger()
    for seq in seqs:
        ledger.delivered(seq, seq)
    return ledger


def test_a_perfect_run_has_nothing_to_report() -> None:
    """Contiguous deliveries and own places, which may be told early, are no finding."""
    ledger = see([1, 2])
    ledger.own(4)
    ledger.delivered(3, 3)
    ledger.delivered(5, 9)
    assert (ledger.missing(9), ledger.repeated, ledger.reordered) == (0, 0, 0)


@given(lost=st.sets(st.integers(1, 50), max_size=10))
def test_planted_losses_are_counted(lost: set[int]) -> None:
    """As many messages are reported lost as were left out, wherever they stood."""
    ledger = see([seq for seq in range(1, 51) if seq not in lost])
    assert ledger.missing(50) == len(lost)
    assert (ledger.repeated, ledger.reordered) == (0, 0)


@given(repeats=st.lists(st.integers(1, 30), max_size=10))
def test_planted_repeats_are_counted(repeats: list[int]) -> None:
    """Each repeated delivery counts once, and hides no loss."""
    ledger = see([*range(1, 31), *repeats])
    assert (ledger.missing(30), ledger.repeated) == (0, len(repeats))


@given(seed=st.integers(0, 10_000))
def test_any_reordering_is_noticed(seed: int) -> None:
    """A sequence of deliveries that is not rising is reported, one that is rising is not."""
    seqs = list(range(1, 20))
    random.Random(seed).shuffle(seqs)
    ledger = see(seqs)
    assert (ledger.reordered > 0) == (seqs != sorted(seqs))
    assert (ledger.missing(19), ledger.repeated) == (0, 0)


def test_sends_out_of_order_are_noticed() -> None:
    """Seqs that do not rise with the order of sending are reported, as are answers given twice."""
    ledger = SendLedger()
    ledger.sends = 4
    for index, seq in ((0, 1), (1, 3), (2, 2), (2, 2)):
        ledger.sent(index, seq)
    assert (ledger.reordered, ledger.repeated, ledger.unanswered) == (1, 1, 1)


def test_losses_of_a_group_are_summed_over_processes() -> None:
    """A message that one process saw is missed by the members of another that did not."""
    first, second = Outcome(), Outcome()
    first.conversations["g:x"] = ConversationCount(base=2, head=11, members=3, seen=30)
    second.conversations["g:x"] = ConversationCount(base=2, head=10, members=2, seen=18)
    first.add(second)
    assert first.undelivered == 2
    assert [threshold.holds for threshold in losses(first)][:2] == [True, False]


def test_a_mark_carries_its_due_time() -> None:
    """The instant a message was due is read back from its client_msg_id."""
    assert mark_due_us(mark(RUN, 7, 12, 123_456_789)) == 123_456_789


def test_a_prepared_send_is_a_frame_of_the_protocol() -> None:
    """The two pieces around index and due time make a masked frame that the server's codec understands."""
    head, tail = send_frame(RUN, 3, "d:a:b", "hello")
    frame = b"%b%07d%016d%b" % (head, 9, 55, tail)
    start = 8 if frame[1] & 0x7F == 126 else 6
    parsed = JSON.parse_client(frame[start:])
    assert isinstance(parsed, Send)
    assert parsed.client_msg_id == mark(RUN, 3, 9, 55)
    assert client_frame(frame[start:]) == frame


def a_delivery(n: int, *seqs: int) -> bytes:
    messages = [
        Message(
            conversation_id="g:x",
            seq=seq,
            message_id=str(seq),
            client_msg_id=mark(RUN, 0, seq, 1_000 * seq),
            sender="bob",
            kind="text",
            content={"text": "hi"},
            sent_at_ms=0,
        )
        for seq in seqs
    ]
    return JSON.encode(Deliver(n=n, messages=messages))


def test_shared_tails_are_decoded_once() -> None:
    """Two members' frames that differ in `n` only are the same tail, and each arrival is timed."""
    book = TailBook(RUN)
    tails = []
    for n in (7, 12_345):
        data = b"before" + a_delivery(n, 4, 5) + b"after"
        cut = data.index(b",", data.index(b'"n":'))
        tail = book.find(data, cut, len(data) - len(b"after"), guess=0)
        tail.arrivals_us.append(6_000)
        tails.append(tail)
    assert tails[0] is tails[1]
    assert (tails[0].first, tails[0].last, tails[0].contiguous) == (4, 5, True)
    assert book.latencies_us(0, 10_000) == {2_000: 2, 1_000: 2}
    assert book.arrived(0, 10_000) == 4


def test_percentiles_are_those_of_the_counts() -> None:
    """A thousand values from 1 to 1,000 ms have their percentiles where they belong, to three digits."""
    latency = latency_of("deliver", Counter(ms * 1_000 for ms in range(1, 1_001)))
    assert latency.count == 1_000
    assert abs(latency.p50_ms - 500) <= 1
    assert abs(latency.p99_ms - 990) <= 2
    assert abs(latency.max_ms - 1_000) <= 1


def test_a_page_says_what_failed_and_runs_nothing() -> None:
    """The HTML report marks thresholds that do not hold, and escapes what it did not write itself."""
    environment = Environment(2, 4.0, "3.11", "<script>", "http://127.0.0.1", "now")
    outcome = Outcome(unanswered=1)
    page = render([Report("pairs", environment, {"pairs": 1}, thresholds=losses(outcome))])
    assert "<span class=bad>✘</span> sends without an answer" in page
    assert "<span class=ok>✔</span> messages lost" in page
    assert "<script>" not in page


def test_a_report_is_readable_by_programs() -> None:
    """The JSON form says whether it passed."""
    environment = Environment(2, 4.0, "3.11", "abc", "http://127.0.0.1", "now")
    report = Report("pairs", environment, {"pairs": 1}, thresholds=losses(Outcome()))
    assert msgspec.json.decode(msgspec.json.encode(report.as_json()))["passed"] is True
