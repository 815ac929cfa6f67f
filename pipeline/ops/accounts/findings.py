"""What an audit has to report: one message, in one place, that is missing, double or not the same."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

__all__ = ["BETWEEN", "MAX_FINDINGS", "Between", "Finding", "place_of"]

Between = Literal["inbound-decision", "accepted-message", "message-row", "row-delivery"]
"""The step of the path where the books do not balance."""
BETWEEN: Final[tuple[Between, ...]] = (
    "inbound-decision",
    "accepted-message",
    "message-row",
    "row-delivery",
)
MAX_FINDINGS: Final = 10_000
"""More are counted, but not named."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One thing that must not be. Fields that do not apply are left at their defaults."""

    between: Between
    what: Literal["missing", "double", "differs"]
    place: str
    """Where the record stands that has no, or a second, counterpart: `im.accepted[1]@90187`."""
    text: str
    conversation_id: str = ""
    seq: int = 0
    message_id: str = ""
    user_id: str = ""


def place_of(topic: str, partition: int, offset: int) -> str:
    return f"{topic}[{partition}]@{offset}"
