"""The history in memory: the twin of `infra/cassandra/`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from infra.ports import Head
from schemas.records import Receipt
from schemas.tables import (
    BucketRow,
    ChangeRow,
    Cursor,
    EventRow,
    HistoryRow,
    Membership,
    MembershipRow,
    MessageRow,
    Row,
    StoredEvent,
    bucket_of,
)

__all__ = ["MemoryHistory"]

_RECALLED: Final = 1 << 62
"""Added to the write timestamp of a recall, so that no edit brings the content back."""


class _Cells:
    """One row: each cell keeps the write with the highest timestamp; of equal ones the greater value."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[int, Any]] = {}

    def write(self, timestamp: int, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            held = self._written.get(name)
            if held is None or held < (timestamp, value):
                self._written[name] = (timestamp, value)

    def values(self) -> dict[str, Any]:
        return {name: value for name, (_, value) in self._written.items()}


_Table = defaultdict[str, defaultdict[Any, _Cells]]


class MemoryHistory:
    """`ports.HistoryStore` over dicts: partition key → clustering key → cells."""

    def __init__(self) -> None:
        self._messages = _table()
        self._buckets = _table()
        self._events = _table()
        self._memberships = _table()
        self._cursors = _table()

    async def startup(self) -> None:
        """Nothing to open."""

    async def shutdown(self) -> None:
        """Nothing to close."""

    async def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._write(row)

    def _write(self, row: Row) -> None:
        values = msgspec.structs.asdict(row)
        match row:
            case MessageRow():
                self._messages[row.conversation_id][row.seq].write(row.seq, values)
            case ChangeRow(content=None):
                recalled = {"content": "{}", "recalled": True}
                self._messages[row.conversation_id][row.seq].write(_RECALLED + row.changed_by_seq, recalled)
            case ChangeRow():
                edited = {"content": row.content, "edited_at_ms": row.at_ms}
                self._messages[row.conversation_id][row.seq].write(row.changed_by_seq, edited)
            case EventRow():
                self._events[row.conversation_id][row.seq].write(row.seq, values)
            case BucketRow():
                self._buckets[row.conversation_id][row.bucket].write(row.first_seq, values)
            case MembershipRow():
                stay = {"joined_seq": row.seq, "left_seq": 0} if row.inside else {"left_seq": row.seq}
                self._memberships[row.user_id][row.conversation_id].write(row.seq, stay)

    async def page(
        self, conversation_id: str, *, before_seq: int | None = None, after_seq: int | None = None, limit: int
    ) -> list[HistoryRow]:
        rows = self._rows(conversation_id)
        if after_seq is not None:
            return [row for row in rows if row.seq > after_seq][:limit]
        return [row for row in reversed(rows) if before_seq is None or row.seq < before_seq][:limit]

    async def head(self, conversation_id: str) -> Head | None:
        newest = await self.page(conversation_id, limit=1)
        return Head(newest[0].seq, newest[0].sent_at_ms) if newest else None

    async def stored_ids(self, conversation_id: str, first_seq: int, last_seq: int) -> dict[int, str]:
        cells = self._messages[conversation_id]
        rows = {seq: cells[seq].values() for seq in cells if first_seq <= seq <= last_seq}
        return {seq: row["message_id"] for seq, row in rows.items() if "message_id" in row}

    async def events(self, conversation_id: str) -> list[StoredEvent]:
        cells = self._events[conversation_id]
        return [msgspec.convert(cells[seq].values(), StoredEvent) for seq in sorted(cells)]

    async def conversations(self, user_id: str) -> list[Membership]:
        """Every conversation the user is or was in. A leave whose join is not stored yet says nothing."""
        stays = {name: cells.values() for name, cells in self._memberships[user_id].items()}
        return [Membership(name, **stays[name]) for name in sorted(stays) if "joined_seq" in stays[name]]

    async def cursors(self, user_id: str, conversation_ids: Sequence[str] | None = None) -> dict[str, Cursor]:
        rows = self._cursors[user_id]
        names = rows if conversation_ids is None else [name for name in conversation_ids if name in rows]
        return {name: Cursor(**rows[name].values()) for name in names}

    async def move_cursors(self, receipts: Sequence[Receipt]) -> None:
        for receipt in receipts:
            moved = {"read_seq": receipt.read_seq, "delivered_seq": receipt.delivered_seq}
            for name, seq in moved.items():
                if seq > 0:
                    self._cursors[receipt.user_id][receipt.conversation_id].write(seq, {name: seq})

    async def mute(self, user_id: str, conversation_id: str, muted: bool, at_ms: int) -> None:
        self._cursors[user_id][conversation_id].write(at_ms, {"muted": muted})

    def _rows(self, conversation_id: str) -> list[HistoryRow]:
        """The whole rows of the buckets that are known, oldest first; a change alone is not a message yet."""
        newest_bucket = max(self._buckets[conversation_id], default=-1)
        cells = self._messages[conversation_id]
        rows = (cells[seq].values() for seq in sorted(cells) if bucket_of(seq) <= newest_bucket)
        return [HistoryRow(**row) for row in rows if "message_id" in row]


def _table() -> _Table:
    return defaultdict(lambda: defaultdict(_Cells))
