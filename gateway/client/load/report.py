"""What a benchmark says in the end: figures, thresholds, and how they are printed. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from hdrh.histogram import HdrHistogram

from gateway.client.load.meter import Cost
from gateway.client.load.share import Outcome
from schemas.codes import Code

__all__ = ["Environment", "Latency", "Report", "Threshold", "latency_of", "losses"]

HIGHEST_US: Final = 600_000_000
DIGITS: Final = 3
PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class Environment:
    """Where it was measured."""

    cores: int
    memory_gib: float
    python: str
    commit: str
    url: str
    at: str


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of times, in milliseconds. `curve` is its percentiles, for drawing."""

    name: str
    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    curve: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Something that must hold."""

    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(slots=True)
class Report:
    """One scenario. It failed if a threshold does not hold."""

    scenario: str
    environment: Environment
    parameters: dict[str, Any]
    latencies: list[Latency] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    costs: list[Cost] = field(default_factory=list)
    messages: int = 0
    thresholds: list[Threshold] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(threshold.holds for threshold in self.thresholds)

    @property
    def generator_share(self) -> float:
        """The generator's part of all processor time, 0 to 1."""
        total = sum(cost.cpu_s for cost in self.costs)
        own = sum(cost.cpu_s for cost in self.costs if cost.name == "generator")
        return own / total if total else 0.0

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        plain = asdict(self)
        plain["passed"] = self.passed
        plain["generator_share"] = self.generator_share
        for threshold, source in zip(plain["thresholds"], self.thresholds, strict=True):
            threshold["holds"] = source.holds
        for cost, measured in zip(plain["costs"], self.costs, strict=True):
            cost["us_a_message"] = measured.us_a_message(self.messages)
        return plain


def latency_of(name: str, counts_us: Counter[int]) -> Latency:
    """The distribution of counted microseconds, exact to three digits."""
    histogram = HdrHistogram(1, HIGHEST_US, DIGITS)
    for value, count in counts_us.items():
        histogram.record_value(min(max(1, value), HIGHEST_US), count)
    p50, p90, p99, p999 = (histogram.get_value_at_percentile(p) / 1000 for p in PERCENTILES)
    curve = [(p, histogram.get_value_at_percentile(p) / 1000) for p in _curve_percentiles()]
    return Latency(
        name=name,
        count=histogram.get_total_count(),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        p999_ms=p999,
        max_ms=histogram.get_max_value() / 1000,
        curve=curve if counts_us else [],
    )


def losses(outcome: Outcome, overload: bool = False) -> list[Threshold]:
    """What no run may show. Under an overload on purpose sends may be told 1302, each with a time to come
    back, and nothing else."""
    refusals = (
        [
            Threshold("sends rejected for another reason", _other_than_overloaded(outcome), 0),
            Threshold("sends told 1302", outcome.rejections[int(Code.OVERLOADED)], 1, at_least=True),
            Threshold("rejections without retry_after_ms", outcome.untimed, 0),
        ]
        if overload
        else [Threshold("sends rejected", sum(outcome.rejections.values()), 0)]
    )
    return [
        Threshold("sends without an answer", outcome.unanswered, 0),
        Threshold("messages lost", outcome.undelivered, 0),
        Threshold("messages repeated", outcome.repeated, 0),
        Threshold("messages reordered", outcome.reordered, 0),
        *refusals,
        Threshold("connections closed by the server", sum(outcome.closed.values()), 0),
    ]


def _other_than_overloaded(outcome: Outcome) -> int:
    return sum(count for code, count in outcome.rejections.items() if code != Code.OVERLOADED)


def _curve_percentiles() -> list[float]:
    """Evenly spaced, then ever closer to 100."""
    return [*(float(p) for p in range(91)), *(100 - 10 / 10 ** (step / 10) for step in range(41))]
