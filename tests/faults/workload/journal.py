"""A client's own log: what it put on the wire and took from it, as `tests/faults/history.py` says."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from schemas import frames
from tests.faults.folder import Lines
from tests.faults.history import ClientEvent, Row, Seen, digest

__all__ = ["Journal", "all_seen", "row_of", "seen_of"]

CHANGES = frozenset({"recall", "edit", "reaction"})


class Journal:
    """Writes the events of one client. Each line has reached the system before `log` returns."""

    def __init__(self, lines: Lines, client: str) -> None:
        self.client = client
        self.session = ""
        self._lines = lines

    def log(self, event: type[ClientEvent], **fields: Any) -> None:
        self._lines.write(event(t=time.monotonic(), client=self.client, session=self.session, **fields))


def seen_of(message: frames.Message) -> Seen:
    """A message as it stood in a frame."""
    content = message.content
    return Seen(
        conversation=message.conversation_id,
        seq=message.seq,
        sender=message.sender,
        client_msg_id=message.client_msg_id,
        kind=message.kind,
        digest=digest(content),
        recalled=message.recalled,
        edited=message.edited_at_ms is not None,
        target=content.get("seq", 0) if message.kind in CHANGES else 0,
    )


def all_seen(messages: Iterable[frames.Message]) -> list[Seen]:
    return [seen_of(message) for message in messages]


def row_of(conversation: frames.Conversation) -> Row:
    """A row of the conversation list as it stood in a page."""
    last = conversation.last_message
    return Row(
        conversation=conversation.conversation_id,
        head=conversation.head,
        read_seq=conversation.read_seq,
        unread=conversation.unread,
        last=last.seq if last is not None else 0,
    )
