"""How far a stage is, in time: the watermark of each partition it owns.

A watermark W says: every record of the partition with a time before W is handled. Gateways build
sync tokens from it (a token must not pass a message that cannot be read yet), probes and
dashboards read its age. While a partition is busy, W is the time of the last handled record. When
it is idle, W moves on with the stage before it: whatever that stage has not handled yet comes
later than its watermark.

Times are the broker's, as its records carry them. Our own wall clock may be hours off, and a watermark
that runs ahead would make clients pass over messages for as long: it is asked only until the first
record has told the broker's time.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from pipeline.batch import Batch

__all__ = ["CLOCK_SKEW_MS", "Progress"]

CLOCK_SKEW_MS = 1_000
"""How far the broker's clock may be behind ours before an idle partition's watermark would lie."""


class Progress:
    """Pure bookkeeping for one stage; `pipeline/worker.py` publishes it."""

    def __init__(self) -> None:
        self._busy: set[int] = set()
        self._done_ms: dict[int, int] = {}
        self._next_offset: dict[int, int] = {}
        self._waiting: dict[int, tuple[int, float]] = {}
        self._log_began_ms: float | None = None
        """The broker's time at zero of our monotonic clock, or a little less."""

    def begin(self, batch: Batch) -> None:
        self._busy.add(batch.partition)

    def end(self, batch: Batch) -> None:
        last = batch.records[-1]
        self._busy.discard(batch.partition)
        self._next_offset[batch.partition] = last.offset + 1
        self._raise(batch.partition, batch.done_ms or last.timestamp_ms)
        began_ms = last.timestamp_ms - batch.began_at * 1000
        self._log_began_ms = max(began_ms, self._log_began_ms or began_ms)

    def log_time_ms(self, now_ms: int, monotonic: float) -> int:
        """What the broker's clock says now, at least: the newest record's time and what has passed since."""
        if self._log_began_ms is None:
            return now_ms
        return int(self._log_began_ms + monotonic * 1000)

    def forget(self, partition: int) -> None:
        """The partition belongs to somebody else now."""
        self._busy.discard(partition)
        self._done_ms.pop(partition, None)
        self._next_offset.pop(partition, None)

    def idle(
        self, ends: Mapping[int, int], committed: Mapping[int, int], upstream_ms: Mapping[int, int]
    ) -> None:
        """Partitions that are handled to their end have seen everything before `upstream_ms`.

        `upstream_ms` must have been read before `ends`, else a record could slip in between.
        """
        for partition, time_ms in upstream_ms.items():
            position = self._next_offset.get(partition, committed.get(partition, 0))
            if partition not in self._busy and position >= ends.get(partition, 0):
                self._raise(partition, time_ms)

    def watermarks(self) -> dict[int, int]:
        """Partition → W in milliseconds."""
        return dict(self._done_ms)

    def stalled(
        self,
        owned: AbstractSet[int],
        ends: Mapping[int, int],
        committed: Mapping[int, int],
        now: float,
        after_s: float,
    ) -> set[int]:
        """Owned partitions with records to read and nothing under way, unmoved for `after_s` seconds.

        A consumer can be alive and yet never rejoin its group after a broker restart.
        """
        found = set()
        for partition in owned:
            position = self._next_offset.get(partition, committed.get(partition, 0))
            if partition in self._busy or position >= ends.get(partition, 0):
                self._waiting.pop(partition, None)
                continue
            seen, since = self._waiting.get(partition, (-1, now))
            if seen != position:
                self._waiting[partition] = (position, now)
            elif now - since >= after_s:
                found.add(partition)
        return found

    def _raise(self, partition: int, time_ms: int) -> None:
        self._done_ms[partition] = max(self._done_ms.get(partition, 0), time_ms)
