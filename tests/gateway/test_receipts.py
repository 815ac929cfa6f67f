"""Cursors on their way to the log."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gateway.receipts import Receipts, merge_receipt
from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.ports import Outgoing
from schemas.codec import RECEIPT
from schemas.errors import Unavailable
from schemas.records import Receipt
from schemas.topics import RECEIPTS

seqs = st.integers(-1, 100)


@given(st.lists(st.tuples(seqs, seqs), min_size=1))
def test_merging_keeps_the_highest_of_each(cursors: list[tuple[int, int]]) -> None:
    """Whatever the order, no cursor falls."""
    merged: Receipt | None = None
    for delivered, read in cursors:
        merged = merge_receipt(merged, Receipt("d:a:b", "a", delivered, read, "s", 1))
    assert merged is not None
    assert merged.delivered_seq == max(d for d, _ in cursors)
    assert merged.read_seq == max(r for _, r in cursors)


class Away(MemoryBus):
    """A log that is away until told."""

    away = True

    async def publish(self, records: Sequence[Outgoing]) -> None:
        if self.away:
            raise Unavailable("away")
        await super().publish(records)


async def test_cursors_wait_for_the_log_and_go_out_merged() -> None:
    """One record for each user and conversation, with the highest of what gathered meanwhile."""
    clock = ManualClock()
    bus = Away(1, clock)
    receipts = Receipts(bus, clock)
    receipts.delivered("alice", "s1", "d:alice:bob", 3)
    await receipts.flush()
    receipts.delivered("alice", "s1", "d:alice:bob", 2)
    receipts.read("alice", "s2", "d:alice:bob", 1)
    bus.away = False
    await receipts.flush()
    await receipts.flush()
    (record,) = [RECEIPT.decode(r.value) for r in bus.records(RECEIPTS)]
    assert (record.delivered_seq, record.read_seq, record.session_id) == (3, 1, "s2")
