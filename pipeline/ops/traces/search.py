"""Finding one record in a large topic by a bounded scan: by time first, by source offset if that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from infra.ports import Bus, Record
from pipeline.ops.accounts.ledger_reader import fetch
from schemas.errors import Undecodable

__all__ = ["CLOCKS_MS", "SCAN_RECORDS", "find_all", "find_made_of"]

SCAN_RECORDS: Final = 20_000
"""One look. A partition at 3,000 records/s holds seven seconds in it."""
_LOOK_RECORDS: Final = 5_000
"""The same in smaller bites, where most often the first has it."""
_NEAR_RECORDS: Final = 500
"""What comes right after its source in time: a stage takes milliseconds, and most clocks agree."""
CLOCKS_MS: Final = 2_000
"""How far the clocks of gateways, workers and brokers may differ."""
_STEP_BACK: Final = 5_000
"""Source offsets rise but for what a restarted stage writes again: some chunks."""

SourceOf = Callable[[Record], int]


async def find_all(
    bus: Bus,
    topic: str,
    partition: int,
    since_ms: int,
    match: Callable[[Record], bool],
    *,
    until_ms: int | None = None,
    records: int = SCAN_RECORDS,
    first_only: bool = False,
) -> list[Record]:
    """Matching records of at most `records` from this time on, not beyond `until_ms`."""
    position = await bus.offsets_at(topic, partition, max(0, since_ms))
    end = (await bus.ends(topic))[partition]
    if until_ms is not None:
        end = min(end, await bus.offsets_at(topic, partition, until_ms))
    end = min(end, position + records)
    found: list[Record] = []

    def take(some: Sequence[Record]) -> None:
        found.extend(record for record in some if match(record))

    while position < end and not (found and first_only):
        position = await bus.read_range(topic, partition, position, min(end, position + SCAN_RECORDS), take)
    return found


async def find_made_of(
    bus: Bus, topic: str, partition: int, since_ms: int, wanted: int, source_of: SourceOf
) -> list[Record]:
    """The records of a topic that were made from the offset `wanted` of the topic before it.

    Usually one look from the time of the source on. If the stage was far behind then, or its topic was
    written at another time, the place is found by halving: a read of one record for each doubling of
    the topic's length, and one look around it.
    """
    end = (await bus.ends(topic))[partition]
    near = min(end, await bus.offsets_at(topic, partition, since_ms))
    look = await fetch(bus, topic, partition, near, min(end, near + _NEAR_RECORDS))
    if found := [record for record in look if _source(record, source_of) == wanted]:
        return found
    start = min(end, await bus.offsets_at(topic, partition, max(0, since_ms - CLOCKS_MS)))
    for position in range(start, min(end, start + SCAN_RECORDS), _LOOK_RECORDS):
        look = await fetch(bus, topic, partition, position, min(end, position + _LOOK_RECORDS))
        sources = [_source(record, source_of) for record in look]
        found = [record for record, source in zip(look, sources, strict=True) if source == wanted]
        if found or max(sources, default=-1) > wanted + _STEP_BACK:
            return found
    if start + SCAN_RECORDS >= end:
        return []
    middle = await _halve(bus, topic, partition, start, end, wanted, source_of)
    around = await fetch(bus, topic, partition, max(0, middle - _STEP_BACK), min(end, middle + _STEP_BACK))
    return [record for record in around if _source(record, source_of) == wanted]


async def _halve(
    bus: Bus, topic: str, partition: int, low: int, high: int, wanted: int, source_of: SourceOf
) -> int:
    """The first offset whose source is not below `wanted`; `high` if there is none."""
    while high - low > 1:
        middle = (low + high) // 2
        record = await fetch(bus, topic, partition, middle, middle + 1)
        if record and _source(record[0], source_of) < wanted:
            low = middle
        else:
            high = middle
    return high


def _source(record: Record, source_of: SourceOf) -> int:
    with suppress(Undecodable):
        return source_of(record)
    return -1
