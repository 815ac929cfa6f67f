"""How commands print what they found: a table for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

__all__ = ["Form", "FormOption", "chosen", "clock_time", "counted", "print_rows", "print_value", "table_of"]


class Form(StrEnum):
    """What `-o` may ask for: `json` is one document, `ndjson` a line for each row."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"


FormOption = Annotated[
    Form | None,
    typer.Option("-o", "--output", help="Default: a table on a terminal, NDJSON in a pipe."),
]


def chosen(form: Form | None) -> Form:
    """The form that was asked for, or the one that suits where the output goes."""
    return form or (Form.TABLE if sys.stdout.isatty() else Form.NDJSON)


def print_rows(rows: Sequence[Any], form: Form | None, table: Table) -> None:
    """The rows (mappings or structs) as one JSON array or a line each, or the table made of them."""
    match chosen(form):
        case Form.TABLE:
            Console(highlight=False, soft_wrap=True).print(table)
        case Form.JSON:
            print_value(rows, Form.JSON)
        case Form.NDJSON:
            for row in rows:
                print_value(row, Form.NDJSON)


def print_value(value: Any, form: Form) -> None:
    """One value: readable JSON, or one line of it."""
    line = msgspec.json.encode(value)
    typer.echo((msgspec.json.format(line) if form is Form.JSON else line).decode())


def table_of(rows: Sequence[Mapping[str, Any]], title: str = "") -> Table:
    """The columns of the first row, headed by their names; a column `…_ms` shows times of day."""
    columns = list(rows[0]) if rows else []
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
