"""CQL files: text in, statements out.

A comment is a whole line; a statement ends with a `;` at the end of a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from schemas.errors import SettingsError

__all__ = ["CQL", "named_statements", "statements"]

CQL: Final = Path(__file__).parents[2] / "schemas" / "cassandra"
"""Where the migrations and the queries are."""

_NAME: Final = "-- name: "


def statements(text: str) -> list[str]:
    """The statements of a file, in order, without comments and without their semicolons."""
    return [cql for _, cql in _parsed(text)]


def named_statements(text: str) -> dict[str, str]:
    """Statements that each follow a `-- name: …` line.

    Raises `SettingsError` for one without a name, and for a name given twice.
    """
    found: dict[str, str] = {}
    for name, cql in _parsed(text):
        if not name:
            raise SettingsError(f"a statement without a name: {cql[:60]}")
        if name in found:
            raise SettingsError(f"two statements are named {name}")
        found[name] = cql
    return found


def _parsed(text: str) -> Iterator[tuple[str, str]]:
    """(name, statement); the name is empty where none was given."""
    name, lines = "", list[str]()
    for line in text.splitlines():
        if line.startswith(_NAME):
            name = line.removeprefix(_NAME).strip()
        elif line.strip() and not line.startswith("--"):
            lines.append(line.rstrip())
        if lines and lines[-1].endswith(";"):
            yield name, "\n".join(lines)[:-1]
            name, lines = "", []
    if lines:
        raise SettingsError(f"a statement without its semicolon: {lines[0]}")
