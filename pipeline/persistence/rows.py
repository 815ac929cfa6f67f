"""What is stored of a message: its own row, and the rows that its place or its content makes."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from schemas.conversation import GroupEvent, parse_event
from schemas.errors import Undecodable
from schemas.ids import direct_users
from schemas.records import STATE_KINDS, Message
from schemas.tables import (
    BUCKET_SIZE,
    BucketRow,
    ChangeRow,
    EventRow,
    MembershipRow,
    MessageRow,
    Row,
    bucket_of,
)

__all__ = ["place_rows", "rows_of"]


class _Recall(msgspec.Struct, frozen=True):
    seq: int


class _Edit(msgspec.Struct, frozen=True):
    seq: int
    content: msgspec.Raw


C = TypeVar("C", _Recall, _Edit)


def rows_of(message: Message) -> list[Row]:
    """Every row of a message. The same message gives the same rows, so that repeats change nothing.

    Raises `Undecodable` if it is an event whose content cannot be understood, or a change of a
    message that does not stand before it.
    """
    return [*place_rows(message), *_effect_rows(message), _message_row(message)]


def place_rows(message: Message) -> list[Row]:
    """The rows that the message's seq alone makes: each bucket's first, and a direct conversation's first."""
    if message.seq % BUCKET_SIZE != 1:
        return []
    conversation_id = message.conversation_id
    bucket = bucket_of(message.seq)
    rows: list[Row] = [BucketRow(conversation_id, bucket, message.seq, message.sent_at_ms)]
    if message.seq == 1 and conversation_id.startswith("d:"):
        # Seq 0: both are in it from before its first message, which so counts as unread.
        rows += [
            MembershipRow(user, conversation_id, 0, inside=True) for user in direct_users(conversation_id)
        ]
    return rows


def _message_row(message: Message) -> MessageRow:
    return MessageRow(
        message.conversation_id,
        message.seq,
        message.message_id,
        message.sender,
        message.client_msg_id,
        message.kind,
        message.content,
        message.sent_at_ms,
        message.quote_seq,
        message.mentions,
    )


def _effect_rows(message: Message) -> list[Row]:
    """What the message does to others: members that come and go, an earlier message that changes."""
    if message.kind == "recall":
        return [_change(message, _decoded(message, _Recall).seq, None)]
    if message.kind == "edit":
        edit = _decoded(message, _Edit)
        return [_change(message, edit.seq, bytes(edit.content).decode())]
    if message.kind in STATE_KINDS:
        return [_event_row(message), *_membership_rows(message)]
    return []


def _change(message: Message, seq: int, content: str | None) -> ChangeRow:
    if not 1 <= seq < message.seq:
        raise Undecodable(f"{message.kind} of seq {seq} by seq {message.seq}: it must stand before it")
    return ChangeRow(message.conversation_id, seq, message.seq, message.sent_at_ms, content)


def _event_row(message: Message) -> EventRow:
    return EventRow(
        message.conversation_id,
        message.seq,
        message.source_offset,
        message.kind,
        message.content,
        message.sent_at_ms,
    )


def _membership_rows(message: Message) -> list[Row]:
    """Who is inside after this event, as far as it names them.

    A group that is dissolved names nobody: it stays among its members' conversations, and its events say
    that it is gone.
    """
    event = parse_event(message.kind, message.content)
    joined: list[str] = []
    left: list[str] = []
    if isinstance(event, GroupEvent):
        if event.action == "created":
            joined = [event.by, *event.members]
    elif event.action == "joined":
        joined = event.users
    elif event.action in ("left", "removed"):
        left = event.users
    conversation_id, seq = message.conversation_id, message.seq
    return [
        *(MembershipRow(user, conversation_id, seq, inside=True) for user in dict.fromkeys(joined)),
        *(MembershipRow(user, conversation_id, seq, inside=False) for user in left),
    ]


def _decoded(message: Message, shape: type[C]) -> C:
    try:
        return msgspec.json.decode(message.content, type=shape)
    except msgspec.DecodeError as error:
        raise Undecodable(f"not the content of a {message.kind}: {error}") from error
