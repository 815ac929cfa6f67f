"""Numbered `.cql` files, each carried out once in a keyspace and then never changed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Final

import msgspec

from infra.cassandra.cql import CQL, named_statements, statements
from infra.cassandra.session import CassandraSession
from infra.settings import Settings
from schemas.errors import SettingsError

__all__ = ["Migration", "apply_migrations", "load_migrations", "pending"]

_FILE: Final = re.compile(r"(\d{3})_[a-z0-9_]+\.cql")
_LEDGER: Final = 0
"""The number of the file that makes the keyspace and the ledger: carried out every time, recorded never."""
_SCHEMA_TIMEOUT_S: Final = 30.0


class Migration(msgspec.Struct, frozen=True):
    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """Of the file as written, before the settings are put in."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self, settings: Settings) -> list[str]:
        """What to carry out, with `$keyspace` and `$replication_factor` filled in."""
        names = {"keyspace": settings.keyspace, "replication_factor": settings.copies_of_rows}
        return [Template(cql).substitute(names) for cql in statements(self.text)]


def load_migrations(folder: Path = CQL) -> list[Migration]:
    """Every numbered file, in order. Raises `SettingsError` for a number given twice."""
    found: dict[int, Migration] = {}
    for path in sorted(folder.glob("*.cql")):
        if match := _FILE.fullmatch(path.name):
            migration = Migration(int(match[1]), path.stem, path.read_text())
            if migration.number in found:
                raise SettingsError(f"two migrations have the number {match[1]}: {path.name}")
            found[migration.number] = migration
    return list(found.values())


def pending(migrations: Sequence[Migration], applied: Mapping[int, str]) -> list[Migration]:
    """Those that `applied` (number → checksum) does not have. What it has beyond them is a newer release's.

    Raises `SettingsError` naming a file that was changed after it was applied.
    """
    for migration in migrations:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise SettingsError(
                f"{migration.name}.cql was changed after it was applied: restore it, and change by a new file"
            )
    return [each for each in migrations if each.number != _LEDGER and each.number not in applied]


async def apply_migrations(settings: Settings) -> list[str]:
    """Bring the keyspace to this release's schema, and return the names of what was carried out.

    One process at a time. Statements say IF NOT EXISTS, so what was interrupted is carried out again.
    Raises `SettingsError` for a changed file, `Unavailable` when Cassandra cannot answer.
    """
    migrations = load_migrations()
    patient = settings.model_copy(update={"cassandra_timeout_s": _SCHEMA_TIMEOUT_S})
    session = CassandraSession(patient, None, {})
    await session.startup()
    try:
        for cql in migrations[_LEDGER].statements(settings):
            await session.run(cql)
        await session.run(f"USE {settings.keyspace}")
        queries = named_statements((CQL / "queries.cql").read_text())
        await session.prepare({name: queries[name] for name in ("migrations", "record_migration")})
        todo = pending(migrations, dict(await session.rows("migrations")))
        for migration in todo:
            for cql in migration.statements(settings):
                await session.run(cql)
            await session.rows("record_migration", migration.number, migration.name, migration.checksum)
        return [migration.name for migration in todo]
    finally:
        await session.shutdown()
