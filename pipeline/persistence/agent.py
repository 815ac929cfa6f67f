"""im.messages → the history."""

from __future__ import annotations

from infra.ports import HistoryStore
from pipeline.batch import Batch
from pipeline.persistence.rows import place_rows, rows_of
from pipeline.source_order import SourceOrder
from schemas.codec import MESSAGE
from schemas.errors import Undecodable
from schemas.tables import Row

__all__ = ["Persistence"]


class Persistence:
    """A `Stage`. Everything it writes may be written again, so it keeps no state that must survive."""

    name = "persistence"

    def __init__(self, history: HistoryStore) -> None:
        self._history = history
        self._order = SourceOrder()

    async def startup(self) -> None:
        """Nothing to do: the history was opened by whoever made this."""

    async def assign(self, partition: int, position: int) -> None:  # noqa: ARG002 - wherever it begins
        """Start anew: what another worker has stored is stored again, and changes nothing."""
        self._order.forget(partition)

    def revoke(self, partition: int) -> None:
        self._order.forget(partition)

    async def load(self, batch: Batch) -> None:
        """Nothing to read: what is stored of a message follows from the message."""

    def plan(self, batch: Batch) -> list[Row]:
        """The rows of the batch's messages, without repeats; a message that makes no sense is buried."""
        rows: list[Row] = []
        for record in batch.records:
            try:
                message = MESSAGE.decode(record.value)
            except Undecodable as error:
                batch.bury(record, error)
                continue
            batch.done_ms = max(batch.done_ms, message.sent_at_ms)
            if self._order.is_repeat(batch.partition, message.source_offset):
                batch.repeats += 1
                continue
            try:
                rows += rows_of(message)
            except Undecodable as error:
                batch.bury(record, error)
                rows += place_rows(message)  # the messages after it must be found
        return rows

    async def perform(self, effects: list[Row]) -> None:
        await self._history.write(effects)
