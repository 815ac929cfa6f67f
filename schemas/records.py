"""The values that travel through the topics: one frozen struct per Avro record, fields in the schema's order.

The orders nest, and the stages live on it. An `Accepted` is one number and then the very bytes of
its `Inbound`; a `Message` is three numbers and then the same bytes again. So moderation and
sequencing put a prefix before bytes they never re-encode (`schemas/codec.py`).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

__all__ = [
    "Audit",
    "Decision",
    "Inbound",
    "Kind",
    "Message",
    "Outbound",
    "Places",
    "Policy",
    "PresenceChange",
    "Receipt",
    "Revocation",
    "Routing",
    "Rule",
    "EVENT_KINDS",
    "STATE_KINDS",
]

Kind = Literal[
    "text", "image", "voice", "video", "file", "custom",
    "recall", "edit", "reaction", "member", "group", "system",
]  # fmt: skip
EVENT_KINDS = frozenset({"recall", "edit", "reaction", "member", "group"})
"""Kinds that nobody says aloud: they never count as unread."""
STATE_KINDS = frozenset({"member", "group"})
"""Kinds that change who is in a conversation and what they may do (`schemas/conversation.py`)."""


class Inbound(msgspec.Struct, frozen=True, gc=False):
    """What a client asked. `content` is a JSON object as text; `quote_seq` 0 means none."""

    kind: Kind
    gateway_id: str
    conversation_id: str
    message_id: str
    sender: str
    client_msg_id: str
    content_crc: int
    session_id: str
    received_at_ms: int
    content: str
    quote_seq: int = 0
    mentions: list[str] = []


class Message(msgspec.Struct, frozen=True, gc=False):
    """The record of truth: what was said, and its place in the conversation."""

    seq: int
    source_offset: int
    sent_at_ms: int
    kind: Kind
    gateway_id: str
    conversation_id: str
    message_id: str
    sender: str
    client_msg_id: str
    content_crc: int
    session_id: str
    received_at_ms: int
    content: str
    quote_seq: int = 0
    mentions: list[str] = []


class Routing(msgspec.Struct, frozen=True, gc=False):
    """How a Message starts: all that is needed to pass one on."""

    seq: int
    source_offset: int
    sent_at_ms: int
    kind: Kind
    gateway_id: str


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What moderation decided about one Inbound."""

    source_offset: int
    conversation_id: str
    message_id: str
    sender: str
    client_msg_id: str
    verdict: Literal["accept", "mask", "reject"]
    code: int
    rules: list[str]
    policy_version: int


class Places(msgspec.Struct, frozen=True, gc=False):
    """What sequencing made of a run of im.accepted, in columns: one entry per message, in order of offset."""

    first_offset: int
    last_offset: int
    conversations: list[str]
    senders: list[str]
    conversation: list[int]
    sender: list[int]
    client_msg_id: list[str]
    message_id: list[str]
    seq: list[int]
    sent_at_ms: list[int]
    content_crc: list[int]


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Cursors that moved; -1 where this record does not speak of one."""

    conversation_id: str
    user_id: str
    delivered_seq: int
    read_seq: int
    session_id: str
    at_ms: int


EPHEMERAL_S: Final = 5.0
"""How long after it was said an ephemeral frame is still worth telling: later it may be untrue, and who was
to hear of it may have left."""


class Outbound(msgspec.Struct, frozen=True, gc=False):
    """One thing for connections of one gateway; the schema says what each field means."""

    kind: Literal["message", "frame", "close"]
    body: bytes
    users: list[str] = []
    source_partition: int = -1
    source_offset: int = -1
    expand: bool = False
    session_id: str = ""
    not_session_id: str = ""
    ephemeral: bool = False


class Rule(msgspec.Struct, frozen=True):
    """Words that are looked for together, and what a hit means."""

    id: str
    rule_class: str
    action: Literal["accept", "mask", "reject"]
    words: list[str]


class Policy(msgspec.Struct, frozen=True):
    """A version of the moderation rules."""

    version: int
    rules: list[Rule]


class Audit(msgspec.Struct, frozen=True):
    """One thing an operator did; `details` is a JSON object as text."""

    action_id: str
    actor: str
    action: str
    target: str
    state: Literal["begun", "done", "failed"]
    details: str
    at_ms: int


class PresenceChange(msgspec.Struct, frozen=True, gc=False):
    """A device came (`online`) or went."""

    user_id: str
    device_id: str
    platform: str
    gateway_id: str
    session_id: str
    online: bool
    at_ms: int


class Revocation(msgspec.Struct, frozen=True, gc=False):
    """Tokens of this user that were made before this moment are refused."""

    user_id: str
    before_ms: int
    by: str
