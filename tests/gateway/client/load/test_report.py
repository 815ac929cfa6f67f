"""What a benchmark says in the end."""

from __future__ import annotations

from collections import Counter

import msgspec

from gateway.client.load.page import render
from gateway.client.load.report import Environment, Report, latency_of, losses
from gateway.client.load.share import ConversationCount, Outcome


def test_losses_of_a_group_are_summed_over_processes() -> None:
    """A message that one process saw is missed by the members of another that did not."""
    first, second = Outcome(), Outcome()
    first.conversations["g:x"] = ConversationCount(base=2, head=11, members=3, seen=30)
    second.conversations["g:x"] = ConversationCount(base=2, head=10, members=2, seen=18)
    first.add(second)
    assert first.undelivered == 2
    assert [threshold.holds for threshold in losses(first)][:2] == [True, False]


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


def test_an_overload_is_judged_by_what_was_accepted() -> None:
    """Refusals with 1302 and a time are wanted; any other refusal, or one without a time, fails the run."""
    outcome = Outcome(rejections=Counter({1302: 5}))
    assert not all(threshold.holds for threshold in losses(outcome))
    assert all(threshold.holds for threshold in losses(outcome, overload=True))
    for bad in (Outcome(), Outcome(rejections=Counter({1302: 5, 1301: 1})), Outcome(untimed=1)):
        assert not all(threshold.holds for threshold in losses(bad, overload=True))
