"""How operator commands print: a table for people, JSON for programs, progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

__all__ = ["FormOption", "chosen_form", "clock_time", "counted", "print_rows"]

FormOption = Annotated[
    str, typer.Option("-o", "--output", help="table, json or ndjson; a table on a terminal, else ndjson.")
]


def print_rows(rows: Sequence[Mapping[str, Any]], form: str, title: str = "") -> None:
    """The same rows in any form. A table shows the columns of its first row; a column `example`, whose
    texts are long, stands below it."""
    chosen = chosen_form(form)
    if chosen == "table":
        console = Console(highlight=False, soft_wrap=True)
        console.print(_table(rows, title))
        for row in rows:
            if "example" in row:
                console.print(f"  e.g. {row['example']}", markup=False, emoji=False, style="dim")
    elif chosen == "json":
        typer.echo(msgspec.json.format(msgspec.json.encode(list(rows))).decode())
    elif chosen == "ndjson":
        for row in rows:
            typer.echo(msgspec.json.encode(row).decode())
    else:
        raise typer.BadParameter("table, json or ndjson", param_hint="-o")


def chosen_form(form: str) -> str:
    """The form that was asked for, or the one that suits where the output goes."""
    return form or ("table" if sys.stdout.isatty() else "ndjson")


def _table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    columns = [name for name in rows[0] if name != "example"] if rows else []
    headings = [name.removesuffix("_ms") for name in columns]
    table = Table(*headings, title=title, title_justify="left", caption="" if rows else "nothing")
    for row in rows:
        table.add_row(*(_cell(name, row[name]) for name in columns))
    return table


def _cell(name: str, value: Any) -> str:
    if name.endswith("_ms") and isinstance(value, int):
        return clock_time(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def clock_time(time_ms: int) -> str:
    """A time for people, UTC."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}" if time_ms else "–"


def counted(number: int, noun: str) -> str:
    """1 record, 2,000 records."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
