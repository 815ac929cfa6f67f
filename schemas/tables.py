"""Cassandra rows. Each is whole and never null; its key and its write timestamp come from the log.

The write timestamp of a row is the seq of the message that made it (`USING TIMESTAMP`), never a
clock: a repeat or a replay writes the same cell again, and of two changes the later seq wins.
"""

from __future__ import annotations

import msgspec

from schemas.records import Kind

__all__ = [
    "BUCKET_SIZE",
    "BucketRow",
    "ChangeRow",
    "Cursor",
    "EventRow",
    "HistoryRow",
    "Membership",
    "MembershipRow",
    "MessageRow",
    "Row",
    "StoredEvent",
    "bucket_of",
]

BUCKET_SIZE = 10_000
"""Messages in one partition: at 300 bytes a row 3 MB, far below the 100 MB where reads suffer."""


def bucket_of(seq: int) -> int:
    """The bucket of a message; buckets are contiguous from 0."""
    return (seq - 1) // BUCKET_SIZE


class MessageRow(msgspec.Struct, frozen=True, gc=False):
    """messages ((conversation_id, bucket), seq): what was said."""

    conversation_id: str
    seq: int
    message_id: str
    sender: str
    client_msg_id: str
    kind: Kind
    content: str
    sent_at_ms: int
    quote_seq: int
    mentions: list[str]


class ChangeRow(msgspec.Struct, frozen=True, gc=False):
    """A later event's effect on an earlier message: an edit (content) or a recall (content None)."""

    conversation_id: str
    seq: int
    changed_by_seq: int
    at_ms: int
    content: str | None


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """conversation_events (conversation_id, seq): membership events, the whole input of the fold."""

    conversation_id: str
    seq: int
    source_offset: int
    kind: Kind
    content: str
    sent_at_ms: int


class BucketRow(msgspec.Struct, frozen=True, gc=False):
    """conversation_buckets (conversation_id, bucket): which buckets exist and when each began."""

    conversation_id: str
    bucket: int
    first_seq: int
    first_sent_at_ms: int


class MembershipRow(msgspec.Struct, frozen=True, gc=False):
    """user_conversations (user_id, conversation_id): a join sets joined_seq, left_seq 0; a leave left_seq."""

    user_id: str
    conversation_id: str
    seq: int
    """The event that says so: the value written, and the write timestamp."""
    inside: bool


Row = MessageRow | ChangeRow | EventRow | BucketRow | MembershipRow


# What is read


class HistoryRow(msgspec.Struct, frozen=True, gc=False):
    """A message with the later changes to it: `content` is the newest, "{}" after a recall."""

    conversation_id: str
    seq: int
    message_id: str
    sender: str
    client_msg_id: str
    kind: Kind
    content: str
    sent_at_ms: int
    quote_seq: int
    mentions: list[str]
    edited_at_ms: int = 0
    recalled: bool = False


class StoredEvent(msgspec.Struct, frozen=True):
    seq: int
    source_offset: int
    kind: Kind
    content: str


class Membership(msgspec.Struct, frozen=True):
    """`joined_seq` of the newest stay, `left_seq` 0 while inside."""

    conversation_id: str
    joined_seq: int
    left_seq: int


class Cursor(msgspec.Struct, frozen=True):
    read_seq: int = 0
    delivered_seq: int = 0
    muted: bool = False
