"""infra/cassandra/cql.py"""

from __future__ import annotations

import pytest

from infra.cassandra.cql import CQL, named_statements, statements
from schemas.errors import SettingsError

TEXT = """-- Two queries.

-- name: first
SELECT a
FROM b;

-- name: second
-- It has a reason.
SELECT ';' FROM c;
"""


def test_statements_come_in_order_without_comments_and_semicolons() -> None:
    """A semicolon ends a statement only at the end of a line."""
    assert statements(TEXT) == ["SELECT a\nFROM b", "SELECT ';' FROM c"]


def test_a_statement_has_the_name_before_it() -> None:
    """Other comments may stand in between."""
    assert named_statements(TEXT) == {"first": "SELECT a\nFROM b", "second": "SELECT ';' FROM c"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT a;", "without a name: SELECT a"),
        ("-- name: x\nSELECT a;\n-- name: x\nSELECT b;", "two statements are named x"),
        ("-- name: x\nSELECT a", "without its semicolon: SELECT a"),
    ],
)
def test_a_file_with_a_mistake_is_refused(text: str, complaint: str) -> None:
    """At the start of the process, not at the first use."""
    with pytest.raises(SettingsError, match=complaint):
        named_statements(text)


def test_no_write_takes_its_timestamp_from_a_clock() -> None:
    """But for the ledger of migrations, which is read by people."""
    queries = named_statements((CQL / "queries.cql").read_text())
    writing = {name for name, cql in queries.items() if cql.startswith(("INSERT", "UPDATE"))}
    clocked = {name for name in writing if "USING TIMESTAMP ?" not in queries[name]}
    assert clocked == {"record_migration"}
