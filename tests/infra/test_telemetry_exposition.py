"""Figures from two looks at Prometheus text."""

from __future__ import annotations

import random

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from infra.telemetry.exposition import between, matching, parse_look, quantile, total
from infra.telemetry.histogram import BatchHistogram
from schemas.errors import Undecodable


def test_a_look_has_every_sample() -> None:
    """Names, labels and values come back as they were set."""
    registry = CollectorRegistry()
    counter = Counter("t_total", "t", ["stage"], registry=registry)
    counter.labels("a").inc(3)
    counter.labels("b").inc(4)
    look = parse_look(generate_latest(registry).decode())
    assert total(look, "t_total") == 7
    assert total(look, "t_total", stage="b") == 4
    assert list(matching(look, "t_total", stage="a")) == [({"stage": "a"}, 3.0)]


def test_what_is_no_exposition_is_refused() -> None:
    """A page that is something else is an error, not an empty look."""
    with pytest.raises(Undecodable):
        parse_look('{"ready": true}')


def test_a_restart_counts_from_zero() -> None:
    """A counter that fell shows what came since its restart, never a negative rise."""
    series = ("t_total", frozenset[tuple[str, str]]())
    other = ("u_total", frozenset[tuple[str, str]]())
    assert between({series: 100.0}, {series: 130.0, other: 5.0}) == {series: 30.0, other: 5.0}
    assert between({series: 100.0}, {series: 7.0}) == {series: 7.0}


@pytest.mark.parametrize("rank", [0.5, 0.9, 0.99])
def test_a_quantile_is_near_the_true_one(rank: float) -> None:
    """Of 10,000 latencies spread like real ones the quantile is found within 5 %."""
    seeded = random.Random(7)
    values = sorted(seeded.lognormvariate(-4.0, 1.0) for _ in range(10_000))
    registry = CollectorRegistry()
    tally = BatchHistogram("t_seconds", "t", registry=registry).labels()
    for value in values:
        tally.observe(value)
    found = quantile(rank, parse_look(generate_latest(registry).decode()), "t_seconds")
    true = values[int(rank * len(values))]
    assert found is not None
    assert abs(found - true) / true < 0.05


def test_a_quantile_of_nothing_is_none() -> None:
    """Without observations there is no quantile; beyond the last bound it is that bound."""
    registry = CollectorRegistry()
    tally = BatchHistogram("t_seconds", "t", bounds=(1.0, 2.0), registry=registry).labels()
    assert quantile(0.5, parse_look(generate_latest(registry).decode()), "t_seconds") is None
    tally.observe(50.0)
    assert quantile(0.5, parse_look(generate_latest(registry).decode()), "t_seconds") == 2.0
