"""Where unanswered sends are kept: in memory, or in an SQLite file that survives the process."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Protocol

import msgspec

from schemas.errors import BadInput, Unavailable
from schemas.frames import Edit, React, Recall, Send

__all__ = ["MemoryStore", "OutboxStore", "Outgoing", "SqliteStore"]

Outgoing = Send | Edit | Recall | React
"""What goes through the outbox: everything that a `client_msg_id` makes safe to repeat."""

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Outgoing] = msgspec.json.Decoder(Outgoing)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS owner (user_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    client_msg_id TEXT NOT NULL UNIQUE,
    frame BLOB NOT NULL
);
"""


class OutboxStore(Protocol):
    """Keeps frames in the order they were added. One client at a time."""

    def load(self) -> list[Outgoing]:
        """Everything kept, oldest first."""
        ...

    def add(self, frame: Outgoing) -> None:
        """Keep a frame. When this returns it is kept."""
        ...

    def remove(self, client_msg_id: str) -> None:
        """Forget a frame; one that is not there is no error."""
        ...

    def bind(self, user_id: str) -> None:
        """Say whose sends these are. Raises `BadInput` if they belong to another user."""
        ...

    def close(self) -> None:
        """Let go of the file; nothing may be called afterwards."""
        ...


class MemoryStore:
    """Keeps nothing beyond the process."""

    def __init__(self) -> None:
        self._frames: dict[str, Outgoing] = {}
        self._owner: str | None = None

    def load(self) -> list[Outgoing]:
        return list(self._frames.values())

    def add(self, frame: Outgoing) -> None:
        self._frames[frame.client_msg_id] = frame

    def remove(self, client_msg_id: str) -> None:
        self._frames.pop(client_msg_id, None)

    def bind(self, user_id: str) -> None:
        self._owner = _check_owner(self._owner, user_id)

    def close(self) -> None:
        pass


class SqliteStore:
    """Keeps frames in a file. Survives a crash of the process; a power cut may cost the last few.

    Raises `Unavailable` if the file cannot be used, also when another client holds it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(path, timeout=1.0, isolation_level=None)
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(f"BEGIN EXCLUSIVE; {_SCHEMA} COMMIT;")
        except sqlite3.Error as error:
            raise Unavailable(f"cannot use the outbox {path}: {error}") from error

    def load(self) -> list[Outgoing]:
        rows = self._db.execute("SELECT frame FROM outbox ORDER BY position")
        try:
            return [_DECODER.decode(frame) for (frame,) in rows]
        except msgspec.DecodeError as error:
            raise Unavailable(f"the outbox {self._path} holds something else than frames: {error}") from error

    def add(self, frame: Outgoing) -> None:
        self._run(
            "INSERT INTO outbox (client_msg_id, frame) VALUES (?, ?)",
            frame.client_msg_id,
            _ENCODER.encode(frame),
        )

    def remove(self, client_msg_id: str) -> None:
        self._run("DELETE FROM outbox WHERE client_msg_id = ?", client_msg_id)

    def bind(self, user_id: str) -> None:
        row = self._db.execute("SELECT user_id FROM owner").fetchone()
        _check_owner(row[0] if row else None, user_id)
        if row is None:
            self._run("INSERT INTO owner (user_id) VALUES (?)", user_id)

    def close(self) -> None:
        self._db.close()

    def _run(self, statement: str, *values: str | bytes) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise Unavailable(f"cannot write the outbox {self._path}: {error}") from error


def _check_owner(owner: str | None, user_id: str) -> str:
    if owner not in (None, user_id):
        raise BadInput(f"this outbox holds sends of {owner!r}, and the token is for {user_id!r}")
    return user_id
