"""infra/cassandra/migrations.py"""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.cassandra.migrations import Migration, load_migrations, pending
from infra.settings import Settings
from schemas.errors import SettingsError

LEDGER = Migration(0, "000_ledger", "CREATE KEYSPACE $keyspace;")
FIRST = Migration(1, "001_first", "CREATE TABLE a;")
SECOND = Migration(2, "002_second", "CREATE TABLE b;")
ALL = [LEDGER, FIRST, SECOND]


def test_a_new_keyspace_gets_every_file_but_the_ledger() -> None:
    """The ledger is carried out before, every time."""
    assert pending(ALL, {}) == [FIRST, SECOND]


def test_what_is_applied_is_not_applied_again() -> None:
    """By number, with its checksum."""
    assert pending(ALL, {1: FIRST.checksum}) == [SECOND]


def test_a_file_that_changed_after_it_was_applied_is_named() -> None:
    """The change would reach some keyspaces and not others."""
    with pytest.raises(SettingsError, match=r"001_first\.cql was changed"):
        pending(ALL, {1: Migration(1, "001_first", "CREATE TABLE z;").checksum})


def test_what_a_newer_release_applied_is_left_alone() -> None:
    """An older worker may start while a release is rolled out."""
    assert pending(ALL, {1: FIRST.checksum, 2: SECOND.checksum, 3: "of tomorrow"}) == []


def test_keyspace_and_replication_come_from_the_settings() -> None:
    """The checksum is that of the file, so it does not depend on them."""
    settings = Settings(keyspace="elsewhere", replication_factor=3)
    created = load_migrations()[0].statements(settings)[0]
    assert "IF NOT EXISTS elsewhere" in created
    assert "'replication_factor': 3" in created
    own = settings.model_copy(update={"cassandra_replication_factor": 1})
    assert "'replication_factor': 1" in load_migrations()[0].statements(own)[0]


def test_files_are_taken_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Files of other names are passed over."""
    for name in ("002_b.cql", "001_a.cql", "queries.cql", "README.md"):
        (tmp_path / name).write_text("SELECT 1;")
    assert [migration.name for migration in load_migrations(tmp_path)] == ["001_a", "002_b"]


def test_a_number_stands_once(tmp_path: Path) -> None:
    """Or one of the two would never be applied."""
    for name in ("001_a.cql", "001_b.cql"):
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(SettingsError, match="number 001"):
        load_migrations(tmp_path)


def test_every_statement_of_ours_may_be_carried_out_again() -> None:
    """An interrupted migration is begun anew."""
    for migration in load_migrations():
        assert all("IF NOT EXISTS" in cql for cql in migration.statements(Settings()))
