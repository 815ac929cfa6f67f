"""Whether what the history holds of a message is what the log says."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.dedupe import Dedupe
from schemas.records import Message
from schemas.tables import HistoryRow

__all__ = ["Uses", "differences"]

_MAX_USES = 1_000_000


def differences(message: Message, row: HistoryRow) -> list[str]:
    """The fields that are not the same. An edit or a recall changes the content, and nothing else."""
    fields = ["message_id", "sender", "client_msg_id", "kind", "sent_at_ms", "quote_seq", "mentions"]
    if not row.edited_at_ms and not row.recalled:
        fields.append("content")
    return [name for name in fields if getattr(message, name) != getattr(row, name)]


class Uses:
    """Which client_msg_ids have their place: a second place inside the dedupe window is a double."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._seqs: Dedupe[tuple[int, int]] = Dedupe(window_ms, _MAX_USES)

    def doubles(self, messages: Iterable[Message]) -> list[tuple[Message, int]]:
        """Messages, in the order of the log, that stand for one before: with the seq of that one."""
        found = []
        for message in messages:
            key = (message.conversation_id, message.sender, message.client_msg_id)
            first = self._seqs.seen(key)
            if first is not None and message.sent_at_ms - first[1] <= self._window_ms:
                found.append((message, first[0]))
            else:
                self._seqs.remember(key, (message.seq, message.sent_at_ms), message.sent_at_ms)
        return found
