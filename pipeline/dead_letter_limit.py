"""When so much fails that the fault is ours: the stage stops instead of emptying itself into im.dlq. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Sequence
from typing import Final, Self

from infra.ports import Record
from infra.settings import Settings

__all__ = ["DeadLetterLimit"]

_SLICES: Final = 60


class DeadLetterLimit:
    """Two bounds over the records of one stage in one process.

    At most `max_consecutive` failures in a row in a partition, and at most `max_ratio` of all records
    of the last `window_s` seconds once those are `min_records`. One poisoned record is a dead letter; a
    deploy that understands nothing trips a bound within its first chunks, and its records stay where
    they are. Time is given in monotonic seconds. The window moves in sixtieths.
    """

    def __init__(self, max_ratio: float, window_s: float, min_records: int, max_consecutive: int) -> None:
        self._max_ratio = max_ratio
        self._slice_s = window_s / _SLICES
        self._window_s = window_s
        self._min_records = min_records
        self._max_consecutive = max_consecutive
        self._slices: deque[list[float]] = deque()
        """[began at, records, failed] of each slice."""
        self._records = self._failed = 0
        self._in_a_row: defaultdict[int, int] = defaultdict(int)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The limit that the settings ask for."""
        return cls(
            settings.dlq_max_ratio,
            settings.dlq_window_s,
            settings.dlq_min_records,
            settings.dlq_max_consecutive,
        )

    def take(self, records: Sequence[Record], failed: Collection[int], now: float) -> str | None:
        """Count a batch of one partition; `failed` are the offsets nobody could handle.

        Returns why the stage must stop before these become dead letters; None: go on.
        """
        self._count(len(records), len(failed), now)
        longest = self._longest_run(records, failed)
        if longest > self._max_consecutive:
            first, last = min(failed), max(failed)
            place = f"{records[0].topic}[{records[0].partition}]"
            return f"{longest} records in a row failed, the newest within {place}@{first}-{last}"
        if failed and self._records >= self._min_records and self._failed > self._max_ratio * self._records:
            share = f"{self._failed} of {self._records} records"
            return f"{share} failed within {self._window_s:g} s, the newest in {records[0].topic}"
        return None

    def _count(self, records: int, failed: int, now: float) -> None:
        while self._slices and self._slices[0][0] <= now - self._window_s:
            _, old_records, old_failed = self._slices.popleft()
            self._records -= int(old_records)
            self._failed -= int(old_failed)
        if not self._slices or self._slices[-1][0] <= now - self._slice_s:
            self._slices.append([now, 0, 0])
        self._slices[-1][1] += records
        self._slices[-1][2] += failed
        self._records += records
        self._failed += failed

    def _longest_run(self, records: Sequence[Record], failed: Collection[int]) -> int:
        """The longest run of failures that ends in this batch; the one at its end goes on in the next."""
        partition = records[0].partition
        if not failed:
            self._in_a_row[partition] = 0
            return 0
        bad = set(failed)
        run, longest = self._in_a_row[partition], 0
        for record in records:
            run = run + 1 if record.offset in bad else 0
            longest = max(longest, run)
        self._in_a_row[partition] = run
        return longest
