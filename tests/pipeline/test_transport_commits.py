"""pipeline/transport.py: which offsets may be committed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator

import pytest
from faust.types import TP

from pipeline.batch import Chunk
from pipeline.transport import BatchConsumer
from tests.builders import a_record

PARTITION = TP("im.messages", 0)


class Consumer(BatchConsumer):
    """As far as commits are concerned, without an app or a broker."""

    assigned: frozenset[TP] = frozenset((PARTITION,))

    def __init__(self) -> None:
        """Nothing of Faust's."""

    def assignment(self) -> set[TP]:
        return set(self.assigned)


@pytest.fixture
def consumer() -> Consumer:
    consumer = Consumer()
    consumer._handled = {}
    consumer._acked = defaultdict(list)
    consumer._acked_index = defaultdict(set)
    return consumer


async def chunks(*sizes: int) -> AsyncIterator[Chunk]:
    offset = 0
    for size in sizes:
        yield Chunk(0, offset, [a_record(b"", offset + at) for at in range(size)])
        offset += size


def acknowledge(consumer: Consumer, *offsets: int) -> None:
    """As Faust does, whatever became of the chunk."""
    consumer._acked[PARTITION] += offsets
    consumer._acked_index[PARTITION].update(offsets)


async def test_what_was_handled_is_committed(consumer: Consumer) -> None:
    """The offset behind a chunk, once its stage asks for the next one; an empty one moves nothing."""
    offsets: list[int | None] = []
    async for chunk in consumer.noting(chunks(0, 3, 2, 4)):
        acknowledge(consumer, max(chunk.start, chunk.end - 1))
        offsets.append(consumer._new_offset(PARTITION))
    assert offsets == [None, None, 3, 5]
    assert consumer._new_offset(PARTITION) == 9


async def test_what_faust_acknowledges_unhandled_is_not(consumer: Consumer) -> None:
    """A chunk that it skipped while its streams were being stopped, and one whose agent it cancelled."""
    handled = consumer.noting(chunks(3, 2))
    await anext(handled)
    acknowledge(consumer, 2)
    assert consumer._new_offset(PARTITION) is None
    await anext(handled)
    await handled.aclose()  # type: ignore[attr-defined]
    acknowledge(consumer, 4, 12)
    assert consumer._new_offset(PARTITION) == 3


async def test_what_went_to_somebody_else_is_not(consumer: Consumer) -> None:
    """It is not tried either: that was told twice a second until the partition came back."""
    handled = consumer.noting(chunks(3, 2))
    await anext(handled)
    await anext(handled)
    consumer.assigned = frozenset()
    acknowledge(consumer, 2)
    assert consumer._new_offset(PARTITION) is None
