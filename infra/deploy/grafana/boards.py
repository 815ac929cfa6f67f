"""The Grafana boards, as code: `python -m infra.deploy.grafana.boards` writes them beside this file.

Every query is here once. A test compares the files with the code, and asks a Prometheus that has
scraped a running system each of these queries.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Final

from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as Timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

__all__ = ["BOARDS", "Board", "Graph", "render", "write_boards"]

_HERE: Final = Path(__file__).parent
_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${prometheus}")
_WIDTH: Final = 8
_HEIGHT: Final = 7


@dataclass(frozen=True, slots=True)
class Graph:
    """One panel. `queries`: PromQL by legend. `quiet`: it has nothing to show while all is well."""

    title: str
    unit: str
    queries: dict[str, str]
    number: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """One page; `rows` by their title."""

    uid: str
    title: str
    rows: dict[str, tuple[Graph, ...]]


def _quantiles(histogram: str, by: str = "") -> dict[str, str]:
    legend = f" {{{{{by}}}}}" if by else ""
    labels = f"{by}, le" if by else "le"
    return {
        f"p{round(100 * rank)}{legend}": (
            f"histogram_quantile({rank}, sum by ({labels}) (rate({histogram}_bucket[$__rate_interval])))"
        )
        for rank in (0.5, 0.99)
    }


def _rates(counter: str, by: str, **labels: str) -> dict[str, str]:
    chosen = ",".join(f'{name}="{value}"' for name, value in labels.items())
    series = f"{counter}{{{chosen}}}" if chosen else counter
    return _each(by, f"sum by ({by}) (rate({series}[$__rate_interval]))")


def _gauges(name: str, by: str, over: str = "max") -> dict[str, str]:
    return _each(by, f"{over} by ({by}) ({name})")


def _each(by: str, query: str) -> dict[str, str]:
    return {" ".join(f"{{{{{label}}}}}" for label in by.split(", ")): query}


def _of_objective(indicator: str, objective: str) -> dict[str, str]:
    return _each("stage, priority", f"{indicator} / on (stage) group_right () {objective}")


PLACE: Final = "stage, partition"
UNACCOUNTED: Final = _gauges("im_ledger_unaccounted", "between")

OVERVIEW: Final = Board(
    "skein-overview",
    "Skein: overview",
    {
        "Promises": (
            Graph("Unaccounted", "short", UNACCOUNTED, number=True, quiet=True),
            Graph("Gateways ready", "short", {"ready": "sum(im_gateway_ready)"}, number=True),
            Graph("Delivery p99", "s", {"p99": "im:delivery_seconds:p99_5m"}, number=True),
            Graph("Connections", "short", {"open": "sum(im_gateway_connections)"}, number=True),
            Graph("Lag of the worst stage", "s", {"behind": "max(im_stage_lag_seconds)"}, number=True),
            Graph("Alerts", "short", {"on": 'count(ALERTS{alertstate="firing"}) or vector(0)'}, number=True),
        ),
        "Traffic": (
            Graph("Accepted", "cps", _rates("im_gateway_accepted_total", "instance")),
            Graph("Delivered", "cps", _rates("im_gateway_delivered_messages_total", "instance")),
            Graph("Arrival to delivery", "s", _quantiles("im_delivery_seconds")),
        ),
    },
)

STAGES: Final = Board(
    "skein-stages",
    "Skein: stages",
    {
        "Objectives": (
            Graph(
                "Lag, share of what is allowed",
                "percentunit",
                _of_objective("max by (stage) (im_stage_lag_seconds)", "im:stage_lag_seconds:objective"),
            ),
            Graph(
                "Time for a message (p99), share of what is allowed",
                "percentunit",
                _of_objective("im:stage_duration_seconds:p99_5m", "im:stage_duration_seconds:objective"),
            ),
            Graph("Success", "percentunit", _each("stage", "im:stage_success_ratio:rate5m")),
        ),
        "Work": (
            Graph("Messages", "cps", _rates("im_stage_messages_total", "stage")),
            Graph("Time for a message", "s", _quantiles("im_stage_duration_seconds", "stage")),
            Graph(
                "Records in a batch",
                "short",
                _each(
                    "stage",
                    "sum by (stage) (rate(im_stage_batch_records_sum[$__rate_interval]))"
                    " / sum by (stage) (rate(im_stage_batch_records_count[$__rate_interval]))",
                ),
            ),
        ),
        "Backlog": (
            Graph("Behind", "s", _gauges("im_stage_lag_seconds", PLACE)),
            Graph("Waiting", "short", _gauges("im_stage_lag_records", PLACE)),
            Graph("Committed", "cps", _gauges("rate(im_stage_committed_offset[$__rate_interval])", PLACE)),
        ),
        "Faults": (
            Graph("Dead letters", "cps", _rates("im_stage_messages_total", "stage", result="dead_letter")),
            Graph("Repeats dropped", "cps", _rates("im_stage_messages_total", "stage", result="repeat")),
            Graph("Waits for an engine", "cps", _rates("im_stage_retries_total", "stage")),
        ),
    },
)

GATEWAYS: Final = Board(
    "skein-gateways",
    "Skein: gateways and processes",
    {
        "Clients": (
            Graph("Connections", "short", _gauges("im_gateway_connections", "instance", "sum")),
            Graph("Handshakes", "cps", _rates("im_gateway_handshakes_total", "status"), quiet=True),
            Graph("Closed by us", "cps", _rates("im_gateway_closed_connections_total", "code")),
            Graph("Refused frames", "cps", _rates("im_gateway_refused_frames_total", "code")),
            Graph("Until the log has it", "s", _quantiles("im_gateway_publish_seconds")),
            Graph("Waiting for the log", "short", _gauges("im_gateway_uplink_pending", "instance")),
        ),
        "Processes": (
            Graph("Dependencies", "short", _gauges("im_dependency_up", "dependency", "min")),
            Graph("Loop is late", "s", _quantiles("im_loop_lag_seconds", "instance")),
            Graph("Producer's backlog", "short", _gauges("im_publisher_backlog_records", "instance")),
            Graph("Processor", "percentunit", _rates("process_cpu_seconds_total", "instance")),
            Graph("Memory", "bytes", _gauges("process_resident_memory_bytes", "instance")),
            Graph("Open files", "short", _gauges("process_open_fds", "instance")),
        ),
    },
)

BOARDS: Final = (OVERVIEW, STAGES, GATEWAYS)


def render(board: Board) -> str:
    """The board as Grafana imports it; the same text each time."""
    page = (
        Dashboard(board.title)
        .uid(board.uid)
        .tags(["skein"])
        .refresh("10s")
        .time("now-30m", "now")
        .with_variable(DatasourceVariable("prometheus").type("prometheus"))
    )
    for title, graphs in board.rows.items():
        page = page.with_row(Row(title))
        for graph in graphs:
            page = page.with_panel(_panel(graph))
    return json.dumps(page.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _panel(graph: Graph) -> Any:
    panel: Any = Stat() if graph.number else Timeseries()
    panel = panel.title(graph.title).unit(graph.unit).datasource(_SOURCE)
    panel = panel.span(4 if graph.number else _WIDTH).height(4 if graph.number else _HEIGHT)
    for letter, (legend, query) in zip(ascii_uppercase, graph.queries.items(), strict=False):
        panel = panel.with_target(Dataquery().expr(query).legend_format(legend).ref_id(letter))
    return panel


def write_boards(folder: Path = _HERE) -> list[Path]:
    """Write every board; returns the files."""
    written = []
    for board in BOARDS:
        path = folder / f"{board.uid}.json"
        path.write_text(render(board))
        written.append(path)
    return written


if __name__ == "__main__":
    write_boards()
