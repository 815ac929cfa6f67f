"""Cursors that clients move: gathered for a second, the highest of each kept, then given to the log."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from infra.clock import Clock
from infra.ports import Bus, Outgoing
from schemas.codec import RECEIPT
from schemas.errors import BadInput, Unavailable
from schemas.records import Receipt
from schemas.topics import RECEIPTS

__all__ = ["Receipts", "merge_receipt"]

log = structlog.get_logger(__name__)

_GATHER_S: Final = 1.0
_MAX_PENDING: Final = 100_000
"""Cursors of all users here that wait; above it new ones are dropped: the next ack says more anyway."""
_BATCH: Final = 5_000

Key = tuple[str, str]


def merge_receipt(old: Receipt | None, new: Receipt) -> Receipt:
    """Both in one: the higher of each cursor, the newer's time and session."""
    if old is None:
        return new
    return Receipt(
        new.conversation_id,
        new.user_id,
        max(old.delivered_seq, new.delivered_seq),
        max(old.read_seq, new.read_seq),
        new.session_id,
        new.at_ms,
    )


class Receipts:
    """Publishes Receipt records. A record may be lost with this gateway; a later ack or read covers it."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._pending: dict[Key, Receipt] = {}

    def delivered(self, user_id: str, session_id: str, conversation_id: str, seq: int) -> None:
        self._add(Receipt(conversation_id, user_id, seq, -1, session_id, self._clock.now_ms()))

    def read(self, user_id: str, session_id: str, conversation_id: str, seq: int) -> None:
        self._add(Receipt(conversation_id, user_id, -1, seq, session_id, self._clock.now_ms()))

    def _add(self, receipt: Receipt) -> None:
        key = (receipt.user_id, receipt.conversation_id)
        old = self._pending.get(key)
        if old is not None or len(self._pending) < _MAX_PENDING:
            self._pending[key] = merge_receipt(old, receipt)

    async def run(self) -> None:
        """Publish what gathered, once a second, until cancelled."""
        while True:
            await asyncio.sleep(_GATHER_S)
            await self.flush()

    async def flush(self) -> None:
        """Give everything to the log; what it does not take is kept for the next time."""
        pending, self._pending = list(self._pending.values()), {}
        for start in range(0, len(pending), _BATCH):
            batch = pending[start : start + _BATCH]
            try:
                await self._bus.publish([self._outgoing(r) for r in batch])
            except BadInput as error:
                log.error("the log refused receipts", error=str(error))
            except Unavailable as error:
                log.warning("receipts wait", count=len(pending) - start, error=str(error))
                for receipt in pending[start:]:
                    key = (receipt.user_id, receipt.conversation_id)
                    newer = self._pending.get(key)
                    self._pending[key] = merge_receipt(receipt, newer) if newer else receipt
                return

    def _outgoing(self, receipt: Receipt) -> Outgoing:
        key = receipt.conversation_id
        return Outgoing(RECEIPTS, self._bus.partition_for(key), RECEIPT.encode(receipt), key.encode())
