"""Cursors on their way to the log."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gateway.receipts import Receipts
from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.ports import Outgoing
from schemas.codec import RECEIPT
from schemas.errors import Unavailable
from schemas.topics import RECEIPTS

cursors = st.lists(st.tuples(st.booleans(), st.integers(0, 100)), min_size=1)


@given(cursors)
async def test_the_highest_of_each_cursor_is_kept(moves: list[tuple[bool, int]]) -> None:
    """Whatever the order, no cursor falls; one that was not spoken of is -1."""
    clock = ManualClock()
    bus = MemoryBus(1, clock)
    receipts = Receipts(bus, clock)
    for is_read, seq in moves:
        (receipts.read if is_read else receipts.delivered)("alice", "s", "d:alice:bob", seq)
    await receipts.flush()
    (record,) = [RECEIPT.decode(r.value) for r in bus.records(RECEIPTS)]
    assert record.read_seq == max((s for r, s in moves if r), default=-1)
    assert record.delivered_seq == max((s for r, s in moves if not r), default=-1)


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
