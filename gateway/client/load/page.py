"""A report as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Final

from gateway.client.load.figure import draw
from gateway.client.load.report import Report

__all__ = ["render", "write_html"]

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem }
td, th { padding: .25rem .9rem; border-bottom: 1px solid #ddd; text-align: right }
td:first-child, th:first-child { text-align: left }
.ok { color: #176f2c } .bad { color: #b3261e } svg { max-width: 100%; height: auto }
"""


def render(reports: Sequence[Report]) -> str:
    """The whole page: thresholds first, then figures, then where it was measured."""
    body = "".join(_section(report) for report in reports)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>im bench</title><style>{_STYLE}</style>"
        f"<h1>im bench</h1>{body}{_environment(reports[0])}</html>"
    )


def write_html(reports: Sequence[Report], path: Path) -> None:
    path.write_text(render(reports))


def _section(report: Report) -> str:
    parameters = ", ".join(f"{escape(key)} {value:g}" for key, value in report.parameters.items())
    svg = draw(report).split("?>", 1)[-1] if report.latencies else ""
    return (
        f"<h2>{escape(report.scenario)}: {parameters}</h2>"
        + _table(("must hold", "measured", "limit"), _threshold_rows(report))
        + _table(
            ("latency, ms", "count", "p50", "p90", "p99", "p99.9", "max"),
            (
                (
                    x.name,
                    f"{x.count:,}",
                    *(f"{v:.2f}" for v in (x.p50_ms, x.p90_ms, x.p99_ms, x.p999_ms, x.max_ms)),
                )
                for x in report.latencies
            ),
        )
        + svg
        + _table(("figure", ""), ((name, f"{value:,g}") for name, value in report.figures.items()))
        + _table(
            ("processor time", "s", "µs a message"),
            ((c.name, f"{c.cpu_s:.2f}", f"{c.us_a_message(report.messages):.1f}") for c in report.costs),
        )
        + (f"<p>The generator's share: {report.generator_share:.0%}</p>" if report.costs else "")
        + "".join(f"<p>{escape(note)}</p>" for note in report.notes)
    )


def _threshold_rows(report: Report) -> Iterable[tuple[str, ...]]:
    for threshold in report.thresholds:
        sign = "✔" if threshold.holds else "✘"
        bound = "≥" if threshold.at_least else "≤"
        yield f"{sign} {threshold.what}", f"{threshold.value:,g}", f"{bound} {threshold.limit:,g}"


def _environment(report: Report) -> str:
    where = report.environment
    rows = (
        ("cores", str(where.cores)),
        ("memory", f"{where.memory_gib:.1f} GiB"),
        ("Python", where.python),
        ("commit", where.commit),
        ("gateway", where.url),
        ("at", where.at),
    )
    return "<h2>Environment</h2>" + _table(("", ""), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    if not lines:
        return ""
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    return f"<table><tr>{titles}</tr>" + "".join(f"<tr>{_mark(line)}</tr>" for line in lines) + "</table>"


def _mark(line: str) -> str:
    for sign, style in (("✔", "ok"), ("✘", "bad")):
        line = line.replace(f"<td>{sign}", f"<td><span class={style}>{sign}</span>")
    return line
