"""Reading Prometheus text back: what happened between two looks at the same processes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from prometheus_client.parser import text_string_to_metric_families

from schemas.errors import Undecodable

__all__ = ["Look", "Series", "between", "matching", "parse_look", "quantile", "total"]

Series = tuple[str, frozenset[tuple[str, str]]]
"""A sample's name and labels."""
Look = Mapping[Series, float]
"""What one process said at one moment."""


def parse_look(text: str) -> dict[Series, float]:
    """Every sample of an exposition. Raises `Undecodable` for what is none."""
    try:
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    except (ValueError, KeyError, IndexError) as error:
        raise Undecodable(f"no metrics in Prometheus text: {error}") from error


def between(before: Look, after: Look) -> dict[Series, float]:
    """How much each counter rose. One that fell was reset by a restart: what it shows is its rise."""
    return {
        series: value if value < before.get(series, 0.0) else value - before.get(series, 0.0)
        for series, value in after.items()
    }


def matching(look: Look, name: str, **labels: str) -> Iterable[tuple[dict[str, str], float]]:
    """The samples of a name with at least these labels."""
    wanted = labels.items()
    for (sample_name, pairs), value in look.items():
        if sample_name == name and wanted <= pairs:
            yield dict(pairs), value


def total(look: Look, name: str, **labels: str) -> float:
    """The sum of the samples of a name with at least these labels."""
    return sum(value for _, value in matching(look, name, **labels))


def quantile(rank: float, risen: Look, histogram: str, **labels: str) -> float | None:
    """The value that this share of the observations did not exceed; None without observations.

    Linear within a bucket, as Prometheus' `histogram_quantile`; above the last bound it is that bound.
    """
    reached: dict[float, float] = {}
    for pairs, value in matching(risen, f"{histogram}_bucket", **labels):
        bound = float(pairs["le"])
        reached[bound] = reached.get(bound, 0.0) + value
    bounds = sorted(reached)
    if not bounds or reached[bounds[-1]] <= 0:
        return None
    wanted = rank * reached[bounds[-1]]
    low, below = 0.0, 0.0
    for bound in bounds:
        if reached[bound] >= wanted:
            if math.isinf(bound):
                return low
            inside = reached[bound] - below
            return low + (bound - low) * ((wanted - below) / inside if inside else 1.0)
        low, below = bound, reached[bound]
    return low
