"""One bucket for all priorities."""

from __future__ import annotations

from collections import Counter

from gateway.limits.priority import Priority, priority_of
from gateway.limits.priority_bucket import PriorityBucket


def test_the_last_tokens_are_for_what_matters_more() -> None:
    """Each priority leaves a fifth more alone than the one above it."""
    bucket, passed = PriorityBucket(1.0, 100.0, 0.0), []
    for priority in reversed(Priority):
        count = 0
        while not bucket.wait_ms(priority, 0.0):
            bucket.count()
            count += 1
        passed.append(count)
    assert passed == [20, 20, 20, 20, 20]


def test_who_waits_as_told_passes_alone() -> None:
    """The wait is as long as it takes to fill up to where this priority begins."""
    bucket = PriorityBucket(10.0, 1.0, 0.0)
    while not bucket.wait_ms(Priority.CONTROL, 0.0):
        bucket.count()
    wait_ms = bucket.wait_ms(Priority.GROUP, 0.0)
    assert bucket.wait_ms(Priority.GROUP, wait_ms / 1000) == 0


def test_while_more_is_asked_than_there_is_the_higher_takes_it() -> None:
    """Direct messages ask for all of the rate: groups get next to nothing."""
    bucket, passed = PriorityBucket(100.0, 1.0, 0.0), Counter[Priority]()
    for step in range(10_000):
        for priority in (Priority.GROUP, Priority.DIRECT):
            if not bucket.wait_ms(priority, step / 100):
                bucket.count()
                passed[priority] += 1
    assert passed.total() <= 100 * 100 + 100
    assert passed[Priority.GROUP] < 0.02 * passed[Priority.DIRECT]


def test_another_rate_gives_no_tokens() -> None:
    """A share that is dealt anew every 300 ms is no gift."""
    bucket, passed = PriorityBucket(100.0, 0.6, 0.0), 0
    for step in range(1_000):
        bucket.set_rate(100.0 if step % 2 else 200.0, 0.6, step / 100)
        while not bucket.wait_ms(Priority.CONTROL, step / 100):
            bucket.count()
            passed += 1
    assert passed <= 10 * 150 + 60


def test_without_a_rate_the_wait_is_bounded() -> None:
    """A share of nothing."""
    bucket = PriorityBucket(0.0, 0.6, 0.0)
    for _ in range(5):
        bucket.count()
    assert bucket.wait_ms(Priority.CONTROL, 0.0) == 10_000


def test_the_conversation_says_the_priority() -> None:
    """What is no conversation comes last among those."""
    ids = ("d:alice:bob", "g:tea", "c:news", "nonsense", "")
    assert [priority_of(name).name for name in ids] == ["DIRECT", "GROUP", "CHANNEL", "CHANNEL", "CHANNEL"]
