"""How operator commands print: a table on a terminal, JSON lines in a pipe; and how they open the doors."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec
from rich.console import Console
from rich.table import Table

from infra.cassandra import CassandraHistory
from infra.clock import SystemClock
from infra.kafka import KafkaBus
from infra.redis import RedisRouteTable
from infra.settings import Settings
from pipeline.topology import Doors

__all__ = ["Format", "open_doors", "print_rows", "print_value", "resolve"]

Format = Literal["auto", "table", "json", "ndjson"]


def resolve(wanted: Format) -> Literal["table", "json", "ndjson"]:
    """What `-o` means here: without it a table on a terminal, JSON lines in a pipe."""
    if wanted != "auto":
        return wanted
    return "table" if sys.stdout.isatty() else "ndjson"


def print_rows(rows: Iterable[Any], wanted: Format, table: Table) -> None:
    """Values as one line each, as one JSON array, or the table that was made of them."""
    match resolve(wanted):
        case "table":
            Console().print(table)
        case "json":
            print_value(list(rows))
        case "ndjson":
            for row in rows:
                sys.stdout.write(msgspec.json.encode(row).decode() + "\n")


def print_value(value: Any) -> None:
    """One value as readable JSON."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")


@asynccontextmanager
async def open_doors(settings: Settings) -> AsyncIterator[Doors]:
    """All three engines, for one command. Raises `Unavailable` naming the one that is away."""
    clock = SystemClock()
    bus, routes = KafkaBus(settings, client_id="im-command"), RedisRouteTable(settings, clock)
    history = CassandraHistory(settings)
    try:
        await bus.startup()
        await routes.startup()
        await history.startup()
        yield Doors(settings, clock, bus, routes, history)
    finally:
        await bus.shutdown()
        await routes.shutdown()
        await history.shutdown()
