"""Cursors that move: of everything said about one, the highest wins, and it is told on only once."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from schemas.records import Receipt
from schemas.tables import Cursor

__all__ = ["Cursors", "merge"]


def merge(receipts: Iterable[Receipt]) -> list[Receipt]:
    """One receipt per user and conversation: the highest cursors, and the session that read furthest."""
    merged: dict[tuple[str, str], Receipt] = {}
    for new in receipts:
        key = (new.conversation_id, new.user_id)
        old = merged.get(key)
        merged[key] = new if old is None else _higher(old, new)
    return list(merged.values())


def _higher(old: Receipt, new: Receipt) -> Receipt:
    return Receipt(
        conversation_id=new.conversation_id,
        user_id=new.user_id,
        delivered_seq=max(old.delivered_seq, new.delivered_seq),
        read_seq=max(old.read_seq, new.read_seq),
        session_id=new.session_id if new.read_seq >= old.read_seq else old.session_id,
        at_ms=max(old.at_ms, new.at_ms),
    )


class Cursors:
    """The cursors that were told on lately, by this worker or the one before it.

    What is not known here is looked up first (`unknown`, `know`): without that, a worker that takes over
    would repeat lower cursors than those that were told.
    """

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._highest: dict[tuple[str, str], tuple[int, int]] = {}

    def unknown(self, receipts: Iterable[Receipt]) -> dict[str, list[str]]:
        """User → the conversations of these receipts whose stored cursors are to be made known."""
        wanted: dict[str, dict[str, None]] = {}
        for receipt in receipts:
            if (receipt.conversation_id, receipt.user_id) not in self._highest:
                wanted.setdefault(receipt.user_id, {})[receipt.conversation_id] = None
        return {user_id: list(conversation_ids) for user_id, conversation_ids in wanted.items()}

    def know(self, user_id: str, conversation_id: str, stored: Cursor) -> None:
        """What is stored may have been told, up to and with it: nothing lower is told from now on.

        The stored height itself is: whoever stored it may have ended before he told anybody.
        """
        self._highest.setdefault((conversation_id, user_id), (stored.delivered_seq - 1, stored.read_seq - 1))

    def raised(self, receipts: Iterable[Receipt]) -> list[Receipt]:
        """Merge these and keep what rises above all before; -1 stands where one of two cursors does not."""
        return [risen for receipt in merge(receipts) if (risen := self._raise(receipt)) is not None]

    def _raise(self, receipt: Receipt) -> Receipt | None:
        key = (receipt.conversation_id, receipt.user_id)
        delivered, read = self._highest.pop(key, (-1, -1))
        self._highest[key] = (max(delivered, receipt.delivered_seq), max(read, receipt.read_seq))
        if len(self._highest) > self._limit:
            for stale in list(islice(self._highest, self._limit // 16 + 1)):
                del self._highest[stale]
        if receipt.delivered_seq <= delivered and receipt.read_seq <= read:
            return None
        return Receipt(
            conversation_id=receipt.conversation_id,
            user_id=receipt.user_id,
            delivered_seq=receipt.delivered_seq if receipt.delivered_seq > delivered else -1,
            read_seq=receipt.read_seq if receipt.read_seq > read else -1,
            session_id=receipt.session_id,
            at_ms=receipt.at_ms,
        )
