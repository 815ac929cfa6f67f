"""What the engines held at the end of a run: topics, offsets, tables, digests; one JSON object a line.

Topics are read by a consumer without a group, from the first offset to the end, in offset order within a
partition. Tables are read whole. Anything that cannot be decoded keeps its place with `bad` set, so that
every offset is accounted for. Fields are only ever added, at the end and with a default.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = [
    "AcceptedRecord", "BucketRow", "CursorRow", "DeadLetterRecord", "DecisionRecord", "Digest", "EventRow",
    "InboundRecord", "Leak", "MembershipRow", "MessageRecord", "MessageRow", "Offset", "OutboundRecord",
    "Pace", "ReceiptRecord", "Said", "TopicEnd",
]  # fmt: skip


class _Record(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    partition: int
    offset: int
    key: str = ""
    at_ms: int = 0
    """The broker's timestamp."""
    bad: str = ""
    """Why the record could not be decoded; its other fields are then at their defaults."""
    strays: list[str] = []
    """Canaries in the raw value that are not the record's own mid."""
    headers: dict[str, str] = {}
    """Only where a check needs them: im.dlq."""


class Said(_Record, frozen=True, kw_only=True):
    """What im.inbound, im.accepted and im.messages have in common: the Inbound.

    `digest` is of the whole content object. `target` is the seq of a recall, edit or reaction, `new_digest`
    that of the new content inside an edit. `event` is the content of group and member events as text.
    """

    conversation: str = ""
    sender: str = ""
    client_msg_id: str = ""
    session: str = ""
    gateway: str = ""
    message_id: str = ""
    kind: str = "text"
    digest: int = 0
    target: int = 0
    new_digest: int = 0
    event: str = ""


class InboundRecord(Said, frozen=True, kw_only=True):
    """topics/im.inbound.jsonl"""


class AcceptedRecord(Said, frozen=True, kw_only=True):
    """topics/im.accepted.jsonl; `source` is the offset in im.inbound."""

    source: int = -1


class MessageRecord(Said, frozen=True, kw_only=True):
    """topics/im.messages.jsonl; `source` is the offset in im.accepted."""

    source: int = -1
    seq: int = 0
    sent_at_ms: int = 0


class DecisionRecord(_Record, frozen=True, kw_only=True):
    """topics/im.moderation.jsonl; `source` is the offset in im.inbound."""

    source: int = -1
    conversation: str = ""
    sender: str = ""
    client_msg_id: str = ""
    verdict: str = ""
    code: int = 0


class ReceiptRecord(_Record, frozen=True, kw_only=True):
    """topics/im.receipts.jsonl; -1: the record does not speak of that cursor."""

    conversation: str = ""
    user: str = ""
    delivered_seq: int = -1
    read_seq: int = -1


class DeadLetterRecord(_Record, frozen=True, kw_only=True):
    """topics/im.dlq.jsonl; the origin is read from the `__streams.errors.*` headers."""

    stage: str = ""
    topic: str = ""
    source_partition: int = -1
    source: int = -1
    why: str = ""


class OutboundRecord(_Record, frozen=True, kw_only=True):
    """topics/im.outbound.<gateway>.jsonl. `kind` message: the mid and place of its body; kind frame:
    `frame` is the type of the frame in it."""

    kind: str = ""
    users: list[str] = []
    expand: bool = False
    ephemeral: bool = False
    session: str = ""
    not_session: str = ""
    source_partition: int = -1
    source: int = -1
    conversation: str = ""
    seq: int = 0
    sender: str = ""
    client_msg_id: str = ""
    message_kind: str = ""
    frame: str = ""


class TopicEnd(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """ends.jsonl: what of a partition was there to dump. `start` above 0: older records are gone."""

    topic: str
    partition: int
    start: int
    end: int


class Pace(Struct, frozen=True, kw_only=True):
    """pace.jsonl: from `t` on, until the next of these, a piece of work takes this many times as long as its
    processor time. Promises in seconds are stretched by it."""

    t: float
    slowdown: float


class Offset(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """offsets.jsonl: a sample of a group's progress. Take one of every partition about once a second
    during the whole run, and a last one when the run has settled: recovery, stalls and what history may
    still lack are judged from these. `t`: after the answer came, so that it was true by then."""

    t: float
    group: str
    topic: str
    partition: int
    committed: int
    end: int


# Tables


class _Row(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    conversation: str


class MessageRow(_Row, frozen=True, kw_only=True):
    """tables/messages.jsonl"""

    seq: int
    bucket: int = 0
    message_id: str = ""
    sender: str = ""
    client_msg_id: str = ""
    kind: str = "text"
    digest: int = 0
    """Of the content object as it stands in the row: the newest edit, `EMPTY` after a recall."""
    recalled: bool = False
    edited: bool = False
    strays: list[str] = []


class MembershipRow(_Row, frozen=True, kw_only=True):
    """tables/user_conversations.jsonl"""

    user: str
    joined_seq: int = 0
    left_seq: int = 0


class EventRow(_Row, frozen=True, kw_only=True):
    """tables/conversation_events.jsonl; `event` is the content as text."""

    seq: int
    source: int = -1
    kind: str = ""
    event: str = ""


class BucketRow(_Row, frozen=True, kw_only=True):
    """tables/conversation_buckets.jsonl"""

    bucket: int
    first_seq: int


class CursorRow(_Row, frozen=True, kw_only=True):
    """tables/user_cursors.jsonl"""

    user: str
    read_seq: int = 0
    delivered_seq: int = 0


# Proofs made by comparing


class Digest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """digests.jsonl: a table (`table:messages`), or the deduped view of a client (`view:<client>`), at a
    moment: `before` a replay, `after` it. `rows` counts what the digest is of."""

    t: float
    moment: str
    of: str
    digest: str
    rows: int = 0


class Leak(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """leaks.jsonl: a canary found where nothing that users say may stand: a log, a metric, argv …"""

    where: str
    mid: str
    line: str = ""
