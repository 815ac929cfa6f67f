"""Where a message stands."""

from __future__ import annotations

import msgspec

__all__ = ["Place"]


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a message stands, and what it was: enough to answer a repeat of it."""

    seq: int
    sent_at_ms: int
    message_id: str
    content_crc: int
