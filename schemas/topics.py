"""The topics: one table, from which they are created, listed and documented."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "ACCEPTED",
    "AUDIT",
    "DEAD_LETTERS",
    "INBOUND",
    "MAX_RECORD_BYTES",
    "MESSAGES",
    "MODERATION",
    "PLACES",
    "POLICY",
    "PRESENCE",
    "RECEIPTS",
    "REVOCATIONS",
    "TOPICS",
    "Topic",
    "outbound_topic",
]

MAX_RECORD_BYTES: Final = 1_048_576
"""Checked before every publish: a record the broker refuses would poison the idempotent producer."""

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic, who may read it, how long it keeps. `per_conversation`: it has IM_PARTITIONS partitions."""

    name: str
    key: str
    record: str
    public: bool
    per_conversation: bool = True
    retention_ms: int = 7 * _DAY_MS
    config: dict[str, str] = field(default_factory=dict)


INBOUND: Final = "im.inbound"
ACCEPTED: Final = "im.accepted"
MESSAGES: Final = "im.messages"
MODERATION: Final = "im.moderation"
RECEIPTS: Final = "im.receipts"
PLACES: Final = "im.places"
PRESENCE: Final = "im.presence"
POLICY: Final = "im.policy"
DEAD_LETTERS: Final = "im.dlq"
AUDIT: Final = "im.audit"
REVOCATIONS: Final = "im.revocations"

_LOG_TIME = {"message.timestamp.type": "LogAppendTime"}

TOPICS: Final = (
    Topic(INBOUND, "conversation_id", "Inbound", public=False),
    # The broker's own clock stamps im.accepted: it is sent_at_ms, and never falls within a partition.
    Topic(ACCEPTED, "conversation_id", "Accepted", public=False, config=_LOG_TIME),
    Topic(MESSAGES, "conversation_id", "Message", public=True, retention_ms=-1),
    # Read by its broker's time, back over the dedupe window; beyond what it keeps, the log itself is read.
    Topic(
        PLACES,
        "none",
        "Places",
        public=False,
        retention_ms=_HOUR_MS,
        config={**_LOG_TIME, "segment.ms": str(_HOUR_MS // 6)},
    ),
    Topic(MODERATION, "conversation_id", "Decision", public=True),
    Topic(RECEIPTS, "conversation_id", "Receipt", public=True),
    Topic(PRESENCE, "user_id", "PresenceChange", public=True),
    Topic(
        POLICY, "policy", "Policy", public=False, per_conversation=False, config={"cleanup.policy": "compact"}
    ),
    Topic(
        REVOCATIONS,
        "user_id",
        "Revocation",
        public=False,
        per_conversation=False,
        config={"cleanup.policy": "compact"},
    ),
    Topic(DEAD_LETTERS, "of the origin", "original bytes", public=False, per_conversation=False),
    Topic(AUDIT, "actor", "Audit", public=False, per_conversation=False, retention_ms=-1),
)


def outbound_topic(gateway_id: str) -> Topic:
    """Deliveries for the connections of one gateway; what is not read in an hour is of no use."""
    return Topic(
        f"im.outbound.{gateway_id}",
        "none",
        "Outbound",
        public=False,
        per_conversation=False,
        retention_ms=_HOUR_MS,
    )
