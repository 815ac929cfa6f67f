"""Where a history comes from: a folder on disk, or lists in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from tests.faults.history import ClientEvent, NemesisEvent, Run

__all__ = ["Source"]


class Source(Protocol):
    """What the checker reads; `tests.faults.folder.Folder` says what each part holds."""

    def run(self) -> Run: ...

    def client_events(self) -> Iterator[ClientEvent]:
        """In order for each client; between clients in any order."""

    def nemesis_events(self) -> Iterator[NemesisEvent]: ...

    def topic(self, topic: str) -> Iterator[Any]:
        """In offset order within a partition; nothing if there was no such dump."""

    def outbound_topics(self) -> list[str]: ...

    def table(self, table: str) -> Iterator[Any]: ...

    def lines(self, name: str, shape: Any) -> Iterator[Any]:
        """`offsets`, `ends`, `digests`, `leaks`."""
