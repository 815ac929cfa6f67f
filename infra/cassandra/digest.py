"""A keyspace in a few numbers: each table's rows and a digest of them, read by ranges of the ring."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from infra.cassandra.cql import CQL, named_statements
from infra.cassandra.session import CassandraSession
from infra.settings import Settings

__all__ = ["TableDigest", "digest_keyspace", "first_row", "ring_ranges", "row_digest"]

_RANGES: Final = 64
_LOWEST: Final = -(1 << 63)
_HIGHEST: Final = (1 << 63) - 1
_MODULUS: Final = 1 << 128


class TableDigest(msgspec.Struct, frozen=True):
    """The same for the same rows, in whatever order they are stored."""

    rows: int
    digest: str


async def digest_keyspace(settings: Settings) -> dict[str, TableDigest]:
    """Every table of `settings.keyspace`. Reads all of it, one range of the ring at a time."""
    session, scans = await _open(settings)
    try:
        return {table: await _digest(session, table) for table in scans}
    finally:
        await session.shutdown()


async def first_row(settings: Settings) -> str | None:
    """A table of the keyspace that has rows; None: it is empty."""
    session, scans = await _open(settings)
    try:
        for table in scans:
            for low, high in ring_ranges(1):
                if await session.rows(f"{table}_any", low, high):
                    return table
        return None
    finally:
        await session.shutdown()


async def _open(settings: Settings) -> tuple[CassandraSession, Mapping[str, str]]:
    scans = named_statements((CQL / "scans.cql").read_text())
    first = {f"{table}_any": f"{cql.rstrip(';')} LIMIT 1" for table, cql in scans.items()}
    session = CassandraSession(settings, settings.keyspace, {**scans, **first})
    await session.startup()
    return session, scans


async def _digest(session: CassandraSession, table: str) -> TableDigest:
    rows = total = 0
    for low, high in ring_ranges(_RANGES):
        found = await session.rows(table, low, high)
        rows += len(found)
        total = (total + sum(map(row_digest, found))) % _MODULUS
    return TableDigest(rows, f"{total:032x}")


def row_digest(row: Iterable[Any]) -> int:
    """128 bits of a row; their sum does not depend on the order of the rows."""
    return int.from_bytes(blake2b(repr(tuple(row)).encode(), digest_size=16).digest(), "big")


def ring_ranges(count: int) -> Iterator[tuple[int, int]]:
    """The whole ring as (after, up to) ranges. No row has the lowest token."""
    width = (_HIGHEST - _LOWEST) // count
    for number in range(count):
        after = _LOWEST + number * width
        yield after, _HIGHEST if number == count - 1 else after + width
