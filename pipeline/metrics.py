"""What the stages count. Names follow Prometheus: base units, no user and no conversation in a label.

One name with a label `stage` rather than a name for each stage: a board, a rule and `im top` then
speak of all stages at once, and a new stage appears in them by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import msgspec
from prometheus_client import Counter, Gauge, Histogram

from infra.telemetry.histogram import BatchHistogram
from pipeline.batch import Batch

__all__ = ["Standing", "StageMetrics", "stage", "standings"]

_MESSAGES = Counter("im_stage_messages_total", "Records handled, by how they ended.", ["stage", "result"])
_RETRIES = Counter("im_stage_retries_total", "Waits for an engine that was away.", ["stage"])
_ASSIGNED = Counter("im_stage_assigned_total", "Partitions that this process took over.", ["stage"])
_STOPPED = Gauge("im_stage_stopped", "1: stopped on purpose, too many of its records fail.", ["stage"])
_SECONDS = BatchHistogram(
    "im_stage_duration_seconds",
    "From a message's arrival in the stage to the end of its effects; each message of a batch counts.",
    ["stage"],
)
_BATCH = Histogram(
    "im_stage_batch_records", "Records in a batch.", ["stage"], buckets=(1, 4, 16, 64, 256, 1_000)
)
_PLACE = ("stage", "partition")
_LAG_S = Gauge("im_stage_lag_seconds", "Age of the oldest record that may not be handled yet.", _PLACE)
_LAG_RECORDS = Gauge("im_stage_lag_records", "Records that are not committed yet.", _PLACE)
_COMMITTED = Gauge("im_stage_committed_offset", "The next record a restarted worker would read.", _PLACE)


class Standing(msgspec.Struct, frozen=True):
    """Where a stage is in one partition."""

    committed: int
    end: int
    behind_s: float | None
    """None until the worker knows."""


class StageMetrics:
    """The instruments of one stage, with their labels bound once. A batch costs 3 µs, a message nothing."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._done = _MESSAGES.labels(name, "done")
        self._repeats = _MESSAGES.labels(name, "repeat")
        self._buried = _MESSAGES.labels(name, "dead_letter")
        self._retries = _RETRIES.labels(name)
        self._assigned = _ASSIGNED.labels(name)
        self._stopped = _STOPPED.labels(name)
        self._seconds = _SECONDS.labels(name)
        self._batch = _BATCH.labels(name)
        self._partitions: set[int] = set()

    def batch_done(self, batch: Batch, seconds: float) -> None:
        count = len(batch.records)
        self._done.inc(count - batch.repeats - len(batch.buried))
        if batch.repeats:
            self._repeats.inc(batch.repeats)
        if batch.buried:
            self._buried.inc(len(batch.buried))
        self._batch.observe(count)
        self._seconds.observe(seconds, count)

    def retry(self) -> None:
        self._retries.inc()

    def assigned(self) -> None:
        self._assigned.inc()

    def stopped(self) -> None:
        self._stopped.set(1)

    def stand(self, standings: Mapping[int, Standing]) -> None:
        """Where each owned partition is; one that went to another worker is no longer spoken of."""
        for partition in self._partitions - standings.keys():
            for gauge in (_LAG_S, _LAG_RECORDS, _COMMITTED):
                gauge.remove(self._name, str(partition))
        self._partitions = set(standings)
        for partition, standing in standings.items():
            place = (self._name, str(partition))
            if standing.behind_s is not None:
                _LAG_S.labels(*place).set(standing.behind_s)
            _LAG_RECORDS.labels(*place).set(max(0, standing.end - standing.committed))
            _COMMITTED.labels(*place).set(standing.committed)


def standings(
    owned: AbstractSet[int],
    committed: Mapping[int, int],
    ends: Mapping[int, int],
    watermarks: Mapping[int, int],
    now_ms: int,
) -> dict[int, Standing]:
    """Where a stage is in each partition it owns."""
    return {
        partition: Standing(
            committed.get(partition, 0),
            ends.get(partition, 0),
            max(0, now_ms - watermarks[partition]) / 1000 if partition in watermarks else None,
        )
        for partition in owned
    }


_stages: dict[str, StageMetrics] = {}


def stage(name: str) -> StageMetrics:
    """The instruments of a stage; the same ones each time."""
    if name not in _stages:
        _stages[name] = StageMetrics(name)
    return _stages[name]
