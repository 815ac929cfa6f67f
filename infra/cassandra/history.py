"""The history port on Cassandra: what is written in which order, and how a page is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from infra.cassandra.binding import cursor_writes, mute_write, write_of
from infra.cassandra.cql import CQL, named_statements
from infra.cassandra.session import CassandraSession
from infra.ports import Head
from infra.settings import Settings
from infra.together import together
from schemas.records import Receipt
from schemas.tables import (
    BUCKET_SIZE,
    ChangeRow,
    Cursor,
    HistoryRow,
    Membership,
    MessageRow,
    Row,
    StoredEvent,
    bucket_of,
)

__all__ = ["CassandraHistory"]

_AFTER_ALL: Final = 1 << 62
"""A seq that no conversation reaches."""
_LAST_BUCKET: Final = (1 << 31) - 1
"""The column holds no larger one."""
_KNOWN_BUCKETS: Final = 100_000
"""Conversations of more than one bucket whose newest is remembered: some 15 MB; then it begins anew."""


class CassandraHistory:
    """`ports.HistoryStore` on Cassandra. The tables are described in `schemas/cassandra/`.

    In batches of 50 a message costs 23 µs of Python from the record on, and 26 µs of Cassandra; alone 163 and
    150 (README.md).
    """

    def __init__(self, settings: Settings) -> None:
        queries = named_statements((CQL / "queries.cql").read_text())
        self._session = CassandraSession(settings, settings.keyspace, queries)
        self._newest: dict[str, int] = {}
        """The newest bucket of a conversation when it was last asked for, unless it was the first one."""

    @property
    def requests(self) -> int:
        """How many it has sent so far: what a call costs can be counted."""
        return self._session.requests

    async def startup(self) -> None:
        """Connect, in a few tries. Raises `Unavailable`, also while the migrations are not applied."""
        await self._session.startup()

    async def shutdown(self) -> None:
        """Close the connections; what is under way may end as `OutcomeUnknown`."""
        await self._session.shutdown()

    async def write(self, rows: Sequence[Row]) -> None:
        """Return once all rows are stored: who may read, and where, before what there is to read.

        Raises `BadInput` before anything is sent if a row is larger than `binding.MAX_WRITE_BYTES`.
        """
        said = [write_of(row) for row in rows if isinstance(row, MessageRow | ChangeRow)]
        known = [write_of(row) for row in rows if not isinstance(row, MessageRow | ChangeRow)]
        for batches in [self._session.batches_of(writes) for writes in (known, said)]:
            await self._session.write(batches)

    async def page(
        self, conversation_id: str, *, before_seq: int | None = None, after_seq: int | None = None, limit: int
    ) -> list[HistoryRow]:
        """One query for the newest bucket, and one for each bucket of the page: 2, or 3 across a border.

        The first two at once, for the bucket where a page begins is nearly always known before: the one that
        was newest the last time, or that of the seq. Where it is another, the page is read anew: 3.
        """
        if after_seq is not None:
            return await self._page_up(conversation_id, max(after_seq, 0), limit)
        return await self._page_down(conversation_id, _AFTER_ALL if before_seq is None else before_seq, limit)

    async def head(self, conversation_id: str) -> Head | None:
        """As a page of one."""
        newest = await self.page(conversation_id, limit=1)
        return Head(newest[0].seq, newest[0].sent_at_ms) if newest else None

    async def stored_ids(self, conversation_id: str, first_seq: int, last_seq: int) -> dict[int, str]:
        """One query for each bucket of the range."""
        found: dict[int, str] = {}
        for bucket in range(bucket_of(max(first_seq, 1)), bucket_of(last_seq) + 1):
            rows = await self._session.rows("stored_ids", conversation_id, bucket, first_seq, last_seq)
            found |= {seq: message_id for seq, message_id in rows if message_id is not None}
        return found

    async def events(self, conversation_id: str) -> list[StoredEvent]:
        return [StoredEvent(*row) for row in await self._session.rows("events", conversation_id)]

    async def conversations(self, user_id: str) -> list[Membership]:
        """Every conversation the user is or was in. A leave whose join is not stored yet says nothing."""
        rows = await self._session.rows("conversations", user_id)
        return [Membership(name, joined, left or 0) for name, joined, left in rows if joined is not None]

    async def cursors(self, user_id: str, conversation_ids: Sequence[str] | None = None) -> dict[str, Cursor]:
        if conversation_ids is None:
            rows = await self._session.rows("cursors", user_id)
        else:
            rows = await self._session.rows("cursors_in", user_id, list(conversation_ids))
        return {name: Cursor(read or 0, sent or 0, bool(muted)) for name, read, sent, muted in rows}

    async def move_cursors(self, receipts: Sequence[Receipt]) -> None:
        await self._session.write(self._session.batches_of(cursor_writes(receipts)))

    async def mute(self, user_id: str, conversation_id: str, muted: bool, at_ms: int) -> None:
        await self._session.write([[mute_write(user_id, conversation_id, muted, at_ms)]])

    async def _newest_bucket(self, conversation_id: str) -> int:
        """The last of the conversation's buckets; -1 if there is none."""
        rows = await self._session.rows("newest_bucket", conversation_id)
        newest = int(rows[0][0]) if rows else -1
        if newest > 0:
            if len(self._newest) >= _KNOWN_BUCKETS:
                self._newest.clear()
            self._newest[conversation_id] = newest
        return newest

    async def _page_down(self, conversation_id: str, before_seq: int, limit: int) -> list[HistoryRow]:
        last = bucket_of(before_seq - 1)
        likely = self._newest.get(conversation_id, 0) if before_seq == _AFTER_ALL else min(last, _LAST_BUCKET)
        newest, page = await together(
            self._newest_bucket(conversation_id),
            self._walk("page_down", conversation_id, [likely], before_seq, limit),
        )
        if min(newest, last) != likely:
            page, likely = [], min(newest, last) + 1
        further = range(likely - 1, -1, -1)
        return page + await self._walk("page_down", conversation_id, further, before_seq, limit - len(page))

    async def _page_up(self, conversation_id: str, after_seq: int, limit: int) -> list[HistoryRow]:
        first = min(bucket_of(after_seq + 1), _LAST_BUCKET)
        newest, page = await together(
            self._newest_bucket(conversation_id),
            self._walk("page_up", conversation_id, [first], after_seq, limit),
        )
        at_border = bool(page) and page[-1].seq == (first + 1) * BUCKET_SIZE
        if newest < first or not (newest == first or at_border or len(page) == limit):
            page, first = [], first - 1  # its bucket may not have been full yet
        further = range(first + 1, newest + 1)
        return page + await self._walk("page_up", conversation_id, further, after_seq, limit - len(page))

    async def _walk(
        self, query: str, conversation_id: str, buckets: Sequence[int], seq: int, limit: int
    ) -> list[HistoryRow]:
        """Bucket after bucket until the page is full: those between the first and the last are full too."""
        page: list[HistoryRow] = []
        for bucket in buckets:
            while (wanted := limit - len(page)) > 0:
                rows = await self._session.rows(query, conversation_id, bucket, seq, wanted)
                page += (_message(row) for row in rows if _is_whole(row))
                if len(rows) < wanted:
                    break
                seq = rows[-1][1]
        return page


def _is_whole(row: Sequence[Any]) -> bool:
    """False while only a later change of this message is stored."""
    return row[2] is not None


def _message(row: Sequence[Any]) -> HistoryRow:
    values = [*row[:10], row[10] or 0, bool(row[11])]
    return HistoryRow(*values)
