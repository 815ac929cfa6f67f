"""What is counted at once is exposed as if it had been counted one by one."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from infra.telemetry.exposition import parse_look
from infra.telemetry.histogram import LATENCY_BOUNDS_S, BatchHistogram

BATCHES = st.lists(st.tuples(st.floats(0, 100), st.integers(1, 50)), max_size=20)


@given(BATCHES)
def test_a_batch_counts_as_its_observations_would(batches: list[tuple[float, int]]) -> None:
    """Buckets and count equal those of the library's histogram fed one by one."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = BatchHistogram("t_seconds", "t", registry=ours).labels()
    singly = Histogram("t_seconds", "t", buckets=LATENCY_BOUNDS_S, registry=theirs)
    for value, count in batches:
        tally.observe(value, count)
        for _ in range(count):
            singly.observe(value)
    got, wanted = (parse_look(generate_latest(registry).decode()) for registry in (ours, theirs))
    wanted = {series: value for series, value in wanted.items() if not series[0].endswith("_created")}
    assert got.keys() == wanted.keys()
    for series, value in wanted.items():
        assert abs(got[series] - value) <= 1e-6 * max(1.0, value), series


def test_a_labelled_tally_is_the_same_each_time() -> None:
    """Whoever asks for the same labels counts in the same series."""
    histogram = BatchHistogram("t_seconds", "t", ["stage"], registry=CollectorRegistry())
    assert histogram.labels("a") is histogram.labels("a")
    assert histogram.labels("a") is not histogram.labels("b")


def test_bounds_rise_by_little() -> None:
    """No bound is more than 27 % above the one before it: what a quantile can be off by."""
    steps = [after / before for before, after in pairwise(LATENCY_BOUNDS_S)]
    assert LATENCY_BOUNDS_S[0] == 0.0005
    assert LATENCY_BOUNDS_S[-1] > 30
    assert max(steps) < 1.27
    assert min(steps) > 1
