"""Which writes share a batch.

An unlogged batch saves requests, not work that must be done: it helps only if one coordinator stores
all of it, so a batch never spans replica sets. Rows of one partition stay neighbours in a batch,
where Cassandra makes one mutation of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

from infra.cassandra.binding import MAX_WRITE_BYTES, Write
from schemas.errors import BadInput

__all__ = ["batches_of"]


def batches_of(
    writes: Iterable[Write], place_of: Callable[[Write], Hashable], max_rows: int, max_bytes: int
) -> list[list[Write]]:
    """The writes in batches of at most `max_rows` and `max_bytes`, each within one place.

    A write above `max_bytes` is a batch of its own. Raises `BadInput` for one above `MAX_WRITE_BYTES`,
    naming its table's key, before anything is sent.
    """
    places: dict[Hashable, list[Sequence[Write]]] = {}
    for partition in _by_partition(writes):
        places.setdefault(place_of(partition[0]), []).append(partition)
    batches: list[list[Write]] = []
    for partitions in places.values():
        rows = room = 0
        for write in (write for partition in partitions for write in partition):
            size = write.size_bytes
            if size > MAX_WRITE_BYTES:
                key = write.partition[0].decode()
                raise BadInput(
                    f"{write.statement} of {key}: {size} bytes in one row, above {MAX_WRITE_BYTES}"
                )
            if rows == 0 or size > room:
                batches.append([])
                rows, room = max_rows, max_bytes
            batches[-1].append(write)
            rows, room = rows - 1, room - size
    return batches


def _by_partition(writes: Iterable[Write]) -> Iterable[list[Write]]:
    partitions: dict[tuple[bytes, ...], list[Write]] = {}
    for write in writes:
        partitions.setdefault(write.partition, []).append(write)
    return partitions.values()
