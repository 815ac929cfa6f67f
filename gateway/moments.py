"""From times to places: where in a conversation a moment lies."""

from __future__ import annotations

from infra.ports import HistoryStore

__all__ = ["seq_at"]


async def seq_at(history: HistoryStore, conversation_id: str, time_ms: int) -> int:
    """The seq of the first message sent at or after this time; one above the newest if there is none.

    `sent_at_ms` never falls within a conversation, so it is found by halving: at most 20 small reads in a
    conversation of a million messages. Raises `Unavailable`.
    """
    head = await history.head(conversation_id)
    if head is None or head.at_ms < time_ms:
        return 1 if head is None else head.seq + 1
    low, high = 1, head.seq
    while low < high:
        middle = (low + high) // 2
        rows = await history.page(conversation_id, after_seq=middle - 1, limit=1)
        if not rows or rows[0].sent_at_ms >= time_ms:
            high = middle
        else:
            low = rows[0].seq + 1
    return low
