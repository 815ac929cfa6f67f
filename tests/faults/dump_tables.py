"""The tables as they stand at the end of a run, token range by token range."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from infra.cassandra.session import CassandraSession
from infra.settings import Settings
from tests.faults import dumps
from tests.faults.folder import Folder, Lines
from tests.faults.history import canaries, digest, mid_of

__all__ = ["dump_tables", "token_ranges"]

RANGES: Final = 256
LEAST_TOKEN: Final = -(2**63)


class _Table(NamedTuple):
    key: str
    columns: str
    line: Callable[..., Any]


def _message(
    conversation: str, seq: int, bucket: int, message_id: str, sender: str, client_msg_id: str, *more: Any
) -> dumps.MessageRow:
    kind, content, recalled, edited_at = more
    own = mid_of(sender, client_msg_id)
    return dumps.MessageRow(
        conversation=conversation,
        seq=seq,
        bucket=bucket,
        message_id=message_id or "",
        sender=sender or "",
        client_msg_id=client_msg_id or "",
        kind=kind or "",
        digest=digest(msgspec.json.decode(content or "{}")),
        recalled=bool(recalled),
        edited=edited_at is not None,
        # The newest edit stands in the row under its own name.
        strays=[mid for mid in canaries(content or "") if mid != own and edited_at is None],
    )


def _membership(user: str, conversation: str, joined: int | None, left: int | None) -> dumps.MembershipRow:
    return dumps.MembershipRow(
        conversation=conversation, user=user, joined_seq=joined or 0, left_seq=left or 0
    )


def _event(conversation: str, seq: int, source: int, kind: str, content: str) -> dumps.EventRow:
    return dumps.EventRow(conversation=conversation, seq=seq, source=source, kind=kind, event=content)


def _bucket(conversation: str, bucket: int, first_seq: int) -> dumps.BucketRow:
    return dumps.BucketRow(conversation=conversation, bucket=bucket, first_seq=first_seq)


def _cursor(user: str, conversation: str, read: int | None, delivered: int | None) -> dumps.CursorRow:
    return dumps.CursorRow(
        conversation=conversation, user=user, read_seq=read or 0, delivered_seq=delivered or 0
    )


TABLES: Final[Mapping[str, _Table]] = {
    "messages": _Table(
        "conversation_id, bucket",
        "conversation_id, seq, bucket, message_id, sender, client_msg_id, kind, content, recalled, edited_at",
        _message,
    ),
    "user_conversations": _Table("user_id", "user_id, conversation_id, joined_seq, left_seq", _membership),
    "conversation_events": _Table(
        "conversation_id", "conversation_id, seq, source_offset, kind, content", _event
    ),
    "conversation_buckets": _Table("conversation_id", "conversation_id, bucket, first_seq", _bucket),
    "user_cursors": _Table("user_id", "user_id, conversation_id, read_seq, delivered_seq", _cursor),
}


async def dump_tables(settings: Settings, folder: Folder) -> None:
    """Write every row of every table."""
    session = CassandraSession(settings, settings.keyspace, {name: _cql(name) for name in TABLES})
    await session.startup()
    try:
        for name, table in TABLES.items():
            with Lines(Path(folder.path, "tables", f"{name}.jsonl"), live=False) as lines:
                async for row in _rows(session, name):
                    lines.write(table.line(*row))
    finally:
        await session.shutdown()


def token_ranges(count: int) -> list[tuple[int, int]]:
    """The whole ring as (after, up to) pairs of tokens."""
    borders = [LEAST_TOKEN + number * 2**64 // count for number in range(count)] + [2**63 - 1]
    return list(pairwise(borders))


async def _rows(session: CassandraSession, table: str) -> AsyncIterator[tuple[Any, ...]]:
    for after, until in token_ranges(RANGES):
        for row in await session.rows(table, after, until):
            yield row


def _cql(name: str) -> str:
    table = TABLES[name]
    token = f"token({table.key})"
    return f"SELECT {table.columns} FROM {name} WHERE {token} > ? AND {token} <= ?"
