"""The latency distributions of a report as an SVG: percentiles up to 99.99 on a log scale."""

from __future__ import annotations

import io
from pathlib import Path

from gateway.client.load.report import Report

__all__ = ["draw", "write_svg"]


def draw(report: Report) -> str:
    """The SVG as text, without a date or a random id in it, so that equal figures make equal files."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "skein"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.2))
    for latency in report.latencies:
        shares = [1 / (1 - min(percentile, 99.99) / 100) for percentile, _ in latency.curve]
        axes.plot(shares, [ms for _, ms in latency.curve], label=f"{latency.name} (n={latency.count:,})")
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = (0, 50, 90, 99, 99.9, 99.99)
    axes.set_xticks([1 / (1 - tick / 100) for tick in ticks], [f"{tick:g} %" for tick in ticks])
    axes.set_xlabel("share of messages that took at most so long")
    axes.set_ylabel("milliseconds")
    axes.set_title(f"{report.scenario}: {', '.join(f'{k} {v:g}' for k, v in report.parameters.items())}")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    with io.StringIO() as target:
        figure.savefig(target, format="svg", metadata={"Date": None}, bbox_inches="tight")
        plt.close(figure)
        return target.getvalue()


def write_svg(report: Report, path: Path) -> None:
    path.write_text(draw(report))
