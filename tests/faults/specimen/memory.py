"""A history in lists: what the checker reads without any file, and a folder can be written from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.faults.dumps import OutboundRecord
from tests.faults.folder import OUTBOUND, Folder
from tests.faults.history import ClientEvent, NemesisEvent, Run

__all__ = ["MemoryHistory"]


class MemoryHistory:
    """`tests.faults.checker.source.Source`. The lists may be changed before the checker reads them."""

    def __init__(self) -> None:
        self.of_run = Run(run="specimen", started_t=0.0, ended_t=0.0, started_unix_ms=0)
        self.events: list[ClientEvent] = []
        self.nemesis: list[NemesisEvent] = []
        self.topics: dict[str, list[Any]] = defaultdict(list)
        self.tables: dict[str, list[Any]] = defaultdict(list)
        self.others: dict[str, list[Any]] = defaultdict(list)

    def run(self) -> Run:
        return self.of_run

    def client_events(self) -> Iterator[ClientEvent]:
        return iter(self.events)

    def nemesis_events(self) -> Iterator[NemesisEvent]:
        return iter(self.nemesis)

    def topic(self, topic: str) -> Iterator[Any]:
        return iter(self.topics.get(topic, ()))

    def outbound_topics(self) -> list[str]:
        return sorted(name for name in self.topics if name.startswith(OUTBOUND))

    def outbound(self, gateway: str) -> list[OutboundRecord]:
        return self.topics[f"{OUTBOUND}{gateway}"]

    def table(self, table: str) -> Iterator[Any]:
        return iter(self.tables.get(table, ()))

    def lines(self, name: str, shape: Any) -> Iterator[Any]:
        return (line for line in self.others.get(name, ()) if isinstance(line, shape))

    def write_to(self, folder: Folder) -> None:
        """The same history as files."""
        folder.write_run(self.of_run)
        folder.dump("clients", self.events)
        folder.dump("nemesis", self.nemesis)
        for topic, records in self.topics.items():
            folder.dump(f"topics/{topic}", records)
        for table, rows in self.tables.items():
            folder.dump(f"tables/{table}", rows)
        for name, lines in self.others.items():
            folder.dump(name, lines)
