"""The figures of `im top` as a page of the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.ops.top.figures import GatewayFigures, GroupFigures, StageFigures, Top

__all__ = ["page_of"]


def page_of(top: Top) -> RenderableType:
    """Stages, gateways, groups, and what is wrong, one below the other."""
    parts: list[RenderableType] = [_stages(top.stages), _gateways(top.gateways), _groups(top.groups)]
    if not top.unaccounted:
        parts.append(Text("unaccounted: no ledger runs", style="dim"))
    for place, count in sorted(top.unaccounted.items()):
        parts.append(Text(f"unaccounted {place}: {count:,}", style="red" if count else "dim"))
    parts += [Text(f"{p.role} {p.name} at {p.address} does not answer", style="red") for p in top.silent]
    parts += [Text(reason, style="red") for reason in top.away]
    return Group(*parts)


def _stages(stages: list[StageFigures]) -> Table:
    table = _table("stage", "workers", "msg/s", "p50 ms", "p99 ms", "waiting", "behind", "errors/s")
    for one in stages:
        behind = f"{one.behind_s:.1f} s" if one.behind_s is not None else "–"
        row = [
            one.stage, str(one.workers), f"{one.messages_per_s:,.1f}", _ms(one.p50_ms), _ms(one.p99_ms),
            f"{one.waiting:,}", behind, f"{one.errors_per_s:,.1f}",
        ]  # fmt: skip
        table.add_row(*row, style="red" if not one.workers or one.errors_per_s else "")
    return table


def _gateways(gateways: list[GatewayFigures]) -> Table:
    table = _table(
        "gateway", "connections", "accepted/s", "delivered/s", "p50 ms", "p99 ms", "loop p99 ms", ""
    )
    for one in gateways:
        row = [
            one.gateway, f"{one.connections:,}", f"{one.accepted_per_s:,.1f}",
            f"{one.delivered_per_s:,.1f}", _ms(one.p50_ms), _ms(one.p99_ms), _ms(one.loop_p99_ms),
            "ready" if one.ready else "not ready",
        ]  # fmt: skip
        table.add_row(*row, style="" if one.ready else "red")
    return table


def _groups(groups: list[GroupFigures]) -> Table:
    table = _table("group", "reads", "waiting", "committed/s", "standing still")
    for one in groups:
        still = ", ".join(map(str, one.still)) or "–"
        row = [one.group, one.topic, f"{one.waiting:,}", f"{one.committed_per_s:,.1f}", still]
        table.add_row(*row, style="red" if one.still else "")
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(expand=True)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _ms(value: float | None) -> str:
    return f"{value:,.1f}" if value is not None else "–"
