"""A report for people: the verdict, each invariant, the first witness of each anomaly, and the faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.faults.checker.availability import Window
from tests.faults.checker.check import Report
from tests.faults.checker.findings import Invariant

__all__ = ["render"]

_SIGNS = {"valid": "✔", "invalid": "✘", "unknown": "?"}


def render(report: Report) -> str:
    """The whole report as lines of text."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"{_SIGNS[report.verdict]} {report.run}: {report.verdict}"
    for reason in report.unknown:
        yield f"  ? {reason}"
    yield "  " + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in report.counts.items())
    for partition, ends in report.partitions.items():
        inbound, *rest = (f"{count:,} {name.replace('_', ' ')}" for name, count in ends.items())
        yield f"  partition {partition}: {inbound} = {' + '.join(rest)}"
    yield ""
    for invariant in report.invariants:
        yield from _of_invariant(invariant)
    yield ""
    yield _HEAD
    yield _of_window(report.availability.overall)
    yield from map(_of_window, report.availability.faults)


def _of_invariant(invariant: Invariant) -> Iterator[str]:
    sign = "✘" if invariant.broken else "✔" if invariant.looked_at else "–"
    looked_at = f"{invariant.looked_at:,} looked at" if invariant.looked_at else "not shown by this run"
    yield f"{sign} {invariant.id:<4}{invariant.says} ({looked_at})"
    for anomaly in invariant.anomalies:
        yield f"      {anomaly.count:,} × {anomaly.name}; first: {_pairs(anomaly.witness)}"


def _pairs(witness: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in witness.items())


_HEAD = (
    f"{'fault':<36}{'sends':>8}{'≤ 30 s':>9}{'gap s':>8}{'away s':>8}{'RTO s':>8}"
    f"{'accepted p50/p99 ms':>21}{'deliver p50/p99 ms':>21}"
)


def _of_window(window: Window) -> str:
    name = " ".join(part for part in (window.fault, window.kind, window.target) if part)
    share = f"{100 * window.answered / window.sends:.3f} %" if window.sends else "–"
    return (
        f"{name[:35]:<36}{window.sends:>8,}{share:>9}{window.longest_gap_s:>8.2f}{window.unavailable_s:>8.2f}"
        f"{window.rto_s:>8.2f}{_both(window.accepted_p50_ms, window.accepted_p99_ms):>21}"
        f"{_both(window.deliver_p50_ms, window.deliver_p99_ms):>21}"
    )


def _both(p50: float | None, p99: float | None) -> str:
    return "–" if p50 is None or p99 is None else f"{p50:,.1f} / {p99:,.1f}"
