"""A clean history is valid, whatever the seed; one that shows too little is unknown."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults import history
from tests.faults.checker.check import MINIMUM_OK, Report, check
from tests.faults.checker.findings import INVARIANTS
from tests.faults.checker.people import Malformed
from tests.faults.dumps import TopicEnd
from tests.faults.specimen.memory import MemoryHistory
from tests.faults.specimen.story import a_clean_history

_ENOUGH = 50


def anomalies(report: Report) -> list[str]:
    return [f"{i.id} {a.name} {a.witness}" for i in report.invariants for a in i.anomalies]


def without(told: MemoryHistory, *shapes: type) -> MemoryHistory:
    """The same history without some of its lines."""
    told.events = [event for event in told.events if not isinstance(event, shapes)]
    told.nemesis = [event for event in told.nemesis if not isinstance(event, shapes)]
    return told


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**9))
def test_a_clean_history_is_valid(seed: int) -> None:
    """Crashes, resumes, lost routes and open outcomes are no anomalies, and every invariant is looked at."""
    report = check(a_clean_history(seed), _ENOUGH)
    assert anomalies(report) == []
    assert report.verdict == "valid", report.unknown
    assert [i.id for i in report.invariants if i.looked_at] == list(INVARIANTS)


def test_a_long_clean_history_is_valid() -> None:
    """Thousands of messages in a conversation change nothing."""
    report = check(a_clean_history(seed=7, steps=4_000), _ENOUGH)
    assert anomalies(report) == []
    assert report.counts["messages"] > 1_000


def test_clients_may_log_in_files_of_their_own() -> None:
    """Only the order of each client's own events counts, not how the clients' logs stand together."""
    told = a_clean_history(seed=3)
    expected = check(told, _ENOUGH)
    told.events.sort(key=lambda event: event.client)
    assert check(told, _ENOUGH) == expected


def test_too_few_good_sends_are_unknown() -> None:
    """A short run says little, unless its reader is content with less and says so."""
    report = check(a_clean_history(seed=1))
    assert report.verdict == "unknown"
    assert report.unknown == [f"{report.counts['ok']} sends went well, {MINIMUM_OK} are needed"]


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        (history.Held, "fault f1 (kill-worker worker-1) never took hold"),
        (history.Settled, "no client settled: nobody knows what arrived in the end"),
    ],
)
def test_a_run_that_shows_nothing_is_unknown(missing: type, reason: str) -> None:
    """A fault that never took hold, or readers that never caught up, are no proof of anything."""
    report = check(without(a_clean_history(seed=1), missing), _ENOUGH)
    assert report.verdict == "unknown"
    assert reason in report.unknown


def test_a_run_without_readers_is_unknown() -> None:
    """If nobody listened while messages went out, nothing is known about deliveries."""
    told = without(a_clean_history(seed=1), history.Deliver, history.Saw)
    report = check(told, _ENOUGH)
    assert "no message was delivered while anybody listened" in report.unknown


def test_missing_samples_are_unknown() -> None:
    """Without samples of the offsets nobody knows whether the groups recovered."""
    told = a_clean_history(seed=1)
    told.others["offsets"].clear()
    assert "the samples of offsets do not show the recovery" in check(told, _ENOUGH).unknown


def test_half_a_replay_is_unknown() -> None:
    """A digest from before a replay alone compares with nothing."""
    told = a_clean_history(seed=1)
    told.others["digests"].pop()
    assert "only one digest of table:messages" in check(told, _ENOUGH).unknown


def test_a_broken_invariant_outweighs_what_is_unknown() -> None:
    """What went wrong went wrong, however short the run was."""
    told = a_clean_history(seed=1)
    told.tables["messages"].pop()
    assert check(told).verdict == "invalid"


def test_a_client_that_was_never_introduced_is_refused() -> None:
    """Without its user nothing about a client can be judged."""
    with pytest.raises(Malformed, match="before its client line"):
        check(without(a_clean_history(seed=1), history.Client), _ENOUGH)


def test_the_witness_is_the_first_in_time() -> None:
    """Of many breaches of one kind the earliest is shown, with how many there were."""
    told = a_clean_history(seed=1)
    sent = [at for at, event in enumerate(told.events) if isinstance(event, history.Sent)]
    for at in reversed(sent):
        told.events[at] = msgspec.structs.replace(told.events[at], seq=10**6)
    found = itertools.chain(*(i.anomalies for i in check(told, _ENOUGH).invariants))
    lies = next(a for a in found if a.name == "sent with another seq than the log's")
    assert lies.count == len(sent)
    assert lies.witness["t"] == told.events[sent[0]].t


def test_a_dump_that_stops_short_is_unknown() -> None:
    """A topic that goes on beyond its dump may hold anything."""
    told = a_clean_history(seed=1)
    record = told.topics["im.inbound"][-1]
    end = record.offset + 1
    told.others["ends"] = [TopicEnd(topic="im.inbound", partition=record.partition, start=0, end=end)]
    assert check(told, _ENOUGH).verdict == "valid"
    told.others["ends"] = [TopicEnd(topic="im.inbound", partition=record.partition, start=0, end=end + 2)]
    assert check(told, _ENOUGH).unknown == [
        f"im.inbound[{record.partition}] is dumped up to {end} of {end + 2}"
    ]


@given(st.integers(0, 10**9))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_partition_s_account_is_even(seed: int) -> None:
    """What came in is what was sequenced, rejected, dead-lettered or known as a repeat."""
    for ends in check(a_clean_history(seed), _ENOUGH).partitions.values():
        inbound, *rest = ends.values()
        assert inbound == sum(rest)
