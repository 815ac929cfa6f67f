"""Names of things: users, devices, conversations, messages. Every id that enters is checked here once.

A user, device, group or channel name is ``[A-Za-z0-9._-]{1,64}``, so an id can stand inside a
Redis key, a CQL bind value, a topic name or a log line without quoting.
"""

from __future__ import annotations

import re
from typing import Literal

import uuid_utils

from schemas.errors import BadInput

__all__ = [
    "CLIENT_MSG_ID",
    "END",
    "ConversationKind",
    "conversation_kind",
    "direct_conversation",
    "direct_users",
    "is_name",
    "new_message_id",
    "new_name",
    "time_of_message_id_ms",
]

ConversationKind = Literal["direct", "group", "channel"]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CONVERSATION = re.compile(r"(?:d:([A-Za-z0-9._-]{1,64}):([A-Za-z0-9._-]{1,64})|([gc]):[A-Za-z0-9._-]{1,64})")
END = r"$(?!\n)"
"""The end of a text: a plain `$` also stands before a last line break."""
CLIENT_MSG_ID = rf"^[!-~]{{1,64}}{END}"
"""What a client may call its own message: 1–64 visible ASCII characters."""


def is_name(text: str) -> bool:
    """Whether `text` may name a user, a device, a group or a gateway."""
    return _NAME.fullmatch(text) is not None


def conversation_kind(conversation_id: str) -> ConversationKind:
    """Check an id and say what it names. Raises `BadInput`; a direct id must have its users sorted."""
    match = _CONVERSATION.fullmatch(conversation_id)
    if match is None:
        raise BadInput("conversation_id must be d:<user>:<user>, g:<id> or c:<id>")
    first, second, letter = match.groups()
    if letter is not None:
        return "group" if letter == "g" else "channel"
    if first >= second:
        raise BadInput("the two users of a direct conversation stand sorted by code point, and differ")
    return "direct"


def direct_conversation(user: str, other: str) -> str:
    """The id of the conversation of two users, in either order."""
    first, second = sorted((user, other))
    return f"d:{first}:{second}"


def direct_users(conversation_id: str) -> tuple[str, str]:
    """The two users of a checked direct id."""
    _, first, second = conversation_id.split(":")
    return first, second


def new_message_id() -> str:
    """A UUIDv7: unique, and its first 48 bits are the time in milliseconds: a trace starts there."""
    return str(uuid_utils.uuid7())


def new_name() -> str:
    """A fresh name for a session, a group or a boot."""
    return uuid_utils.uuid7().hex


def time_of_message_id_ms(message_id: str) -> int:
    """When the gateway made this id. Raises `BadInput` if it is no message id."""
    try:
        return int(message_id.replace("-", "")[:12], 16)
    except ValueError:
        raise BadInput("not a message id") from None
