"""How much of what was read from the history has nothing missing before it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.tables import HistoryRow

__all__ = ["newest_up_to_hole", "up_to_hole"]


def up_to_hole(rows: Sequence[HistoryRow], after_seq: int | None, settled_ms: int) -> Sequence[HistoryRow]:
    """These rows, oldest first, up to where one is missing that may still come.

    The messages of a batch are stored side by side, so for a moment, or until somebody takes over from a
    worker that died, a later one can be read and an earlier one cannot. A client that is shown the later one
    first begins behind the earlier one, and never takes it. What is cut off here is delivered, or told by
    the heads: it is newer than every token. `after_seq`: what the rows should follow (0: nothing; None: they
    begin somewhere in the middle). `settled_ms`: everything sent before is stored, so what is missing before
    a message from then stays missing (it is among the dead letters), and hides nothing.
    """
    if not rows:
        return rows
    expected = rows[0].seq if after_seq is None else after_seq + 1
    if rows[-1].seq - expected + 1 == len(rows):
        return rows
    for index, row in enumerate(rows):
        if row.seq != expected and row.sent_at_ms >= settled_ms:
            return rows[:index]
        expected = row.seq + 1
    return rows


def newest_up_to_hole(rows: Sequence[HistoryRow], is_all: bool, settled_ms: int) -> Sequence[HistoryRow]:
    """The same for rows that were read newest first. `is_all`: there is nothing before the last of them."""
    return up_to_hole(rows[::-1], 0 if is_all else None, settled_ms)[::-1]
