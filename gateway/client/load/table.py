"""A report as a table in the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.client.load.report import Report

__all__ = ["table_of"]


def table_of(report: Report) -> RenderableType:
    """Thresholds, latencies, figures and costs of one scenario."""
    title = f"{report.scenario}: {', '.join(f'{k} {v:g}' for k, v in report.parameters.items())}"
    parts: list[RenderableType] = [Text(title, style="bold"), _latencies(report), _figures(report)]
    if report.costs:
        parts += [
            _costs(report),
            Text(f"the generator's share of processor time: {report.generator_share:.0%}"),
        ]
    for threshold in report.thresholds:
        sign, style = ("✔", "green") if threshold.holds else ("✘", "red")
        bound = "≥" if threshold.at_least else "≤"
        line = f" {sign} {threshold.what} {threshold.value:,g} ({bound} {threshold.limit:,g})"
        parts.append(Text(line, style=style))
    parts += [Text(note, style="yellow") for note in report.notes]
    return Group(*parts)


def _latencies(report: Report) -> Table:
    table = Table("latency, ms", "count", "p50", "p90", "p99", "p99.9", "max")
    for x in report.latencies:
        cells = (f"{value:.2f}" for value in (x.p50_ms, x.p90_ms, x.p99_ms, x.p999_ms, x.max_ms))
        table.add_row(x.name, f"{x.count:,}", *cells)
    return table


def _figures(report: Report) -> Table:
    table = Table("figure", "")
    for name, value in report.figures.items():
        table.add_row(name, f"{value:,g}")
    return table


def _costs(report: Report) -> Table:
    table = Table("processor time of", "s", "µs a message")
    for cost in report.costs:
        table.add_row(cost.name, f"{cost.cpu_s:.2f}", f"{cost.us_a_message(report.messages):.1f}")
    return table
