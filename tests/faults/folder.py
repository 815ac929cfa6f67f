"""The folder of a run: where each kind of line stands, how to write it and how to read it again.

    run.json                    `history.Run`
    clients*.jsonl              `history.ClientEvent`
    nemesis.jsonl               `history.NemesisEvent`
    offsets.jsonl               `dumps.Offset`
    pace.jsonl                  `dumps.Pace`
    ends.jsonl                  `dumps.TopicEnd`
    digests.jsonl, leaks.jsonl  `dumps.Digest`, `dumps.Leak`
    topics/<topic>.jsonl        `dumps.InboundRecord` … by `TOPIC_RECORDS`
    tables/<table>.jsonl        `dumps.MessageRow` … by `TABLE_ROWS`

Every file may end in `.gz`. A missing file is an empty one; only run.json must be there.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import msgspec

from schemas import topics
from tests.faults import dumps
from tests.faults.history import ClientEvent, NemesisEvent, Run

__all__ = ["TABLE_ROWS", "TOPIC_RECORDS", "Folder", "Lines", "topic_record"]

T = TypeVar("T")

TOPIC_RECORDS: Final[dict[str, Any]] = {
    topics.INBOUND: dumps.InboundRecord,
    topics.ACCEPTED: dumps.AcceptedRecord,
    topics.MODERATION: dumps.DecisionRecord,
    topics.MESSAGES: dumps.MessageRecord,
    topics.RECEIPTS: dumps.ReceiptRecord,
    topics.DEAD_LETTERS: dumps.DeadLetterRecord,
}
OUTBOUND: Final = "im.outbound."
TABLE_ROWS: Final[dict[str, Any]] = {
    "messages": dumps.MessageRow,
    "user_conversations": dumps.MembershipRow,
    "conversation_events": dumps.EventRow,
    "conversation_buckets": dumps.BucketRow,
    "user_cursors": dumps.CursorRow,
}
_FLUSH_BYTES: Final = 1 << 20
_READ_BYTES: Final = 1 << 20


def topic_record(topic: str) -> Any:
    """The struct of a topic's lines."""
    return dumps.OutboundRecord if topic.startswith(OUTBOUND) else TOPIC_RECORDS[topic]


class Lines:
    """A file that is written line by line. `live`: every line reaches the system before `write` returns,
    so that a killed harness has told all it did; without it lines gather (1 MiB) for dumps."""

    def __init__(self, path: Path, *, live: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = path.open("ab", buffering=0 if live else _FLUSH_BYTES)
        self._encoder = msgspec.json.Encoder()
        self._buffer = bytearray()

    def write(self, line: Any) -> None:
        self._encoder.encode_into(line, self._buffer)
        self._buffer += b"\n"
        self._file.write(self._buffer)
        self._buffer.clear()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Folder:
    """One run's files. Reading streams: no file is ever held whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # Writing

    def write_run(self, run: Run) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "run.json").write_bytes(msgspec.json.format(msgspec.json.encode(run)))

    def clients(self, part: str = "") -> Lines:
        """The log of some clients; each process, or each client, may have a `part` of its own."""
        return Lines(self.path / (f"clients-{part}.jsonl" if part else "clients.jsonl"))

    def nemesis(self) -> Lines:
        return Lines(self.path / "nemesis.jsonl")

    def offsets(self) -> Lines:
        return Lines(self.path / "offsets.jsonl")

    def pace(self) -> Lines:
        return Lines(self.path / "pace.jsonl")

    async def has_pace(self) -> bool:
        """Whether the first measurement is there."""
        path = self.path / "pace.jsonl"
        return path.exists() and path.stat().st_size > 0

    def dump(self, name: str, lines: Iterable[Any]) -> None:
        """Write a whole dump: `topics/im.inbound`, `tables/messages`, `ends`, `digests` or `leaks`."""
        with Lines(self.path / f"{name}.jsonl", live=False) as file:
            for line in lines:
                file.write(line)

    # Reading

    def run(self) -> Run:
        return msgspec.json.decode((self.path / "run.json").read_bytes(), type=Run)

    def client_events(self) -> Iterator[ClientEvent]:
        """Every client's events; in order for each client."""
        for path in sorted(self.path.glob("clients*.jsonl*")):
            yield from _lines(path, ClientEvent)

    def nemesis_events(self) -> Iterator[NemesisEvent]:
        return self.lines("nemesis", NemesisEvent)

    def topic(self, topic: str) -> Iterator[Any]:
        return self.lines(f"topics/{topic}", topic_record(topic))

    def outbound_topics(self) -> list[str]:
        names = {p.name.split(".jsonl")[0] for p in self.path.glob(f"topics/{OUTBOUND}*.jsonl*")}
        return sorted(names)

    def table(self, table: str) -> Iterator[Any]:
        return self.lines(f"tables/{table}", TABLE_ROWS[table])

    def lines(self, name: str, shape: Any) -> Iterator[Any]:
        """The lines of ``<name>.jsonl``. Raises `msgspec.ValidationError` with what does not fit."""
        for suffix in (".jsonl", ".jsonl.gz"):
            path = self.path / f"{name}{suffix}"
            if path.exists():
                yield from _lines(path, shape)


def _lines(path: Path, shape: Any) -> Iterator[Any]:
    """The lines of a file, decoded a megabyte at a time; the last one may be cut short and is then left."""
    decode = msgspec.json.Decoder(shape).decode_lines
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        rest = b""
        while chunk := file.read(_READ_BYTES):
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                yield from decode(whole)
