"""Silences, recovery and latencies are computed from the logs as defined, shown on a history made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.checker.check import check
from tests.faults.dumps import AcceptedRecord, InboundRecord, MessageRecord, MessageRow
from tests.faults.history import (
    Accepted,
    Began,
    Client,
    Deliver,
    Healed,
    Held,
    Run,
    Seen,
    Send,
    Sent,
    Unknown,
)
from tests.faults.specimen.memory import MemoryHistory

ANSWERS = [(0.0, 0.01), (1.0, 0.02), (2.0, 3.0), (3.0, 2.0), (6.0, 0.01), (40.0, 41.0)]
"""When each message was sent, and how long it waited: the service is silent from 2.0 to 5.0."""
CONVERSATION = "d:ann:bob"


def say(told: MemoryHistory, offset: int, t: float, waited: float) -> None:
    """One message on its whole way."""
    seq, name = offset + 1, str(offset)
    place: dict[str, Any] = {
        "partition": 0, "offset": offset, "conversation": CONVERSATION, "sender": "ann",
        "client_msg_id": name,
    }  # fmt: skip
    told.topics["im.inbound"].append(InboundRecord(session="s", **place))
    told.topics["im.accepted"].append(AcceptedRecord(source=offset, **place))
    told.topics["im.messages"].append(MessageRecord(source=offset, seq=seq, **place))
    told.tables["messages"].append(
        MessageRow(conversation=CONVERSATION, seq=seq, sender="ann", client_msg_id=name)
    )
    seen = Seen(CONVERSATION, seq, "ann", name, "text", 0)
    told.events += [
        Send(t=t, client="a", session="s", client_msg_id=name, conversation=CONVERSATION),
        Accepted(t=t + waited, client="a", session="s", client_msg_id=name),
        Sent(t=t + waited, client="a", session="s", client_msg_id=name, conversation=CONVERSATION, seq=seq),
        Deliver(t=t + waited + 0.1, client="b", session="z", n=seq, messages=[seen]),
    ]


@pytest.fixture
def told() -> MemoryHistory:
    told = MemoryHistory()
    told.of_run = Run(run="by hand", started_t=0.0, ended_t=90.0, started_unix_ms=0)
    told.events = [Client(t=0.0, client="a", user="ann"), Client(t=0.0, client="b", user="bob")]
    for offset, (t, waited) in enumerate(ANSWERS):
        say(told, offset, t, waited)
    told.nemesis = [
        Began(t=1.5, fault="f", kind="stop-broker"),
        Held(t=1.6, fault="f", evidence="no answer"),
        Healed(t=4.0, fault="f"),
    ]
    return told


def test_a_fault_costs_the_time_in_which_sends_waited(told: MemoryHistory) -> None:
    """Silence counts from the first send that had to wait, not from the last answer before it."""
    fault = check(told).availability.faults[0]
    assert (fault.sends, fault.answered, fault.took_hold) == (2, 2, True)
    assert (fault.longest_gap_s, fault.unavailable_s) == (3.0, 3.0)
    assert fault.available == pytest.approx(1 - 2.0 / 2.5)  # from 1.5 to 4.0, away from 2.0 on


def test_latencies_belong_to_the_send(told: MemoryHistory) -> None:
    """A send that waited 41 s counts in the whole run, not in the fault that was long healed."""
    availability = check(told).availability
    assert availability.overall.sends == len(ANSWERS)
    assert availability.overall.answered == len(ANSWERS) - 1
    assert availability.overall.accepted_p99_ms == pytest.approx(41_000.0)
    assert availability.faults[0].accepted_p99_ms == pytest.approx(3_000.0)
    assert availability.faults[0].deliver_p99_ms == pytest.approx(3_100.0)


def test_recovery_is_the_end_of_the_last_outage(told: MemoryHistory) -> None:
    """It counts from the fault's beginning, in the slowest partition; later silences are not the fault's."""
    assert check(told).availability.faults[0].rto_s == 3.5


def test_an_outage_soon_after_the_healing_is_still_the_fault_s(told: MemoryHistory) -> None:
    """What goes silent within 30 s of the healing is a part of the recovery."""
    say(told, len(ANSWERS), 20.0, 5.0)
    fault = check(told).availability.faults[0]
    assert (fault.longest_gap_s, fault.unavailable_s, fault.rto_s) == (5.0, 8.0, 23.5)


def test_a_send_without_an_answer_is_counted(told: MemoryHistory) -> None:
    """One that nobody ever answered is no latency, and is named."""
    told.events.append(Send(t=41.0, client="a", session="s", client_msg_id="x", conversation=CONVERSATION))
    assert check(told).availability.overall.unanswered == 1


def test_a_run_that_ends_early_says_nothing_about_late_answers(told: MemoryHistory) -> None:
    """An answer that could still have come in time is missed by nobody."""
    told.events.append(Send(t=89.0, client="a", session="s", client_msg_id="x", conversation=CONVERSATION))
    report = check(told)
    assert "the run ended while 1 sends could still be answered in time" in report.unknown
    assert "never answered" not in [a.name for i in report.invariants for a in i.anomalies]
    told.events.append(Unknown(t=89.5, client="a", session="s", client_msg_id="x", final=True))
    assert not [reason for reason in check(told).unknown if "answered in time" in reason]


def test_a_silence_belongs_to_the_fault_before_it(told: MemoryHistory) -> None:
    """What another fault brings about does not count as the recovery of an earlier one."""
    told.nemesis[:0] = [
        Began(t=0.5, fault="e", kind="kill-worker"),
        Held(t=0.6, fault="e", evidence="gone"),
        Healed(t=0.6, fault="e"),
    ]
    earlier, later = check(told).availability.faults
    assert (earlier.fault, earlier.longest_gap_s < 0.1, earlier.rto_s) == ("e", True, 0.0)
    assert later.longest_gap_s == 3.0
