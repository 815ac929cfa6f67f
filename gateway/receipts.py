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

__all__ = ["Receipts"]

log = structlog.get_logger(__name__)

_GATHER_S: Final = 1.0
_MAX_PENDING: Final = 100_000
"""Cursors of all users here that wait; above it new ones are dropped: the next ack says more anyway."""
_BATCH: Final = 5_000
_UNSAID: Final = -1

Key = tuple[str, str]


class _Cursors:
    """What is said of one user in one conversation: the highest of each cursor, and who said it last."""

    __slots__ = ("delivered_seq", "read_seq", "session_id")

    def __init__(self, delivered_seq: int, read_seq: int, session_id: str) -> None:
        self.delivered_seq = delivered_seq
        self.read_seq = read_seq
        self.session_id = session_id

    def raise_to(self, delivered_seq: int, read_seq: int, session_id: str) -> None:
        self.delivered_seq = max(self.delivered_seq, delivered_seq)
        self.read_seq = max(self.read_seq, read_seq)
        self.session_id = session_id


class Receipts:
    """Publishes Receipt records. A record may be lost with this gateway; a later ack or read covers it."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._pending: dict[Key, _Cursors] = {}

    def delivered(self, user_id: str, session_id: str, conversation_id: str, seq: int) -> None:
        self._move((user_id, conversation_id), seq, _UNSAID, session_id)

    def read(self, user_id: str, session_id: str, conversation_id: str, seq: int) -> None:
        self._move((user_id, conversation_id), _UNSAID, seq, session_id)

    def _move(self, key: Key, delivered_seq: int, read_seq: int, session_id: str) -> None:
        cursors = self._pending.get(key)
        if cursors is not None:
            cursors.raise_to(delivered_seq, read_seq, session_id)
        elif len(self._pending) < _MAX_PENDING:
            self._pending[key] = _Cursors(delivered_seq, read_seq, session_id)

    async def run(self) -> None:
        """Publish what gathered, once a second, until cancelled."""
        while True:
            await asyncio.sleep(_GATHER_S)
            await self.flush()

    async def flush(self) -> None:
        """Give everything to the log; what it does not take is kept for the next time."""
        pending, self._pending = list(self._pending.items()), {}
        for start in range(0, len(pending), _BATCH):
            try:
                await self._bus.publish([self._outgoing(*one) for one in pending[start : start + _BATCH]])
            except BadInput as error:
                log.error("the log refused receipts", error=str(error))
            except Unavailable as error:
                log.warning("receipts wait", count=len(pending) - start, error=str(error))
                self._keep(pending[start:])
                return

    def _keep(self, pending: list[tuple[Key, _Cursors]]) -> None:
        for key, old in pending:
            newer = self._pending.setdefault(key, old)
            if newer is not old:
                newer.raise_to(old.delivered_seq, old.read_seq, newer.session_id)

    def _outgoing(self, key: Key, cursors: _Cursors) -> Outgoing:
        user_id, conversation_id = key
        receipt = Receipt(
            conversation_id,
            user_id,
            cursors.delivered_seq,
            cursors.read_seq,
            cursors.session_id,
            self._clock.now_ms(),
        )
        partition = self._bus.partition_for(conversation_id)
        return Outgoing(RECEIPTS, partition, RECEIPT.encode(receipt), conversation_id.encode())
