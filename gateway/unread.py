"""How many messages a user has not read: counted, never kept up and down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from schemas.records import EVENT_KINDS
from schemas.tables import HistoryRow

__all__ = ["UNREAD_SCAN", "Unread", "count_unread"]

UNREAD_SCAN: Final = 1_000
"""Newest messages that are looked at; everything unread below them counts, own messages and events too."""


class Unread(msgspec.Struct, frozen=True):
    """`mentioned`: one of the messages that were looked at names the user."""

    count: int
    mentioned: bool


def count_unread(newest_first: Sequence[HistoryRow], floor_seq: int, user_id: str) -> Unread:
    """Unread messages above `floor_seq` (the higher of read cursor and join).

    `newest_first` are neighbouring messages from the head down, either to the floor or `UNREAD_SCAN` of them.
    """
    count, mentioned, reached = 0, False, floor_seq + 1
    for row in newest_first[:UNREAD_SCAN]:
        if row.seq <= floor_seq:
            break
        reached = row.seq
        if row.sender != user_id and row.kind not in EVENT_KINDS:
            count += 1
            mentioned = mentioned or user_id in row.mentions
    else:
        count += max(0, reached - 1 - floor_seq)
    return Unread(count, mentioned)
