"""What a stage says of itself."""

from __future__ import annotations

from prometheus_client import REGISTRY, generate_latest

from infra.ports import Record
from infra.telemetry.exposition import parse_look, quantile, total
from pipeline import metrics
from pipeline.batch import Batch
from pipeline.topology import STAGES
from schemas.errors import Undecodable

RESULTS = ("done", "repeat", "dead_letter")
SERIES_OF_A_STAGE = 80
SERIES_OF_A_PARTITION = 3


def look() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return parse_look(generate_latest(REGISTRY).decode())


def a_batch(count: int) -> Batch:
    return Batch("im.inbound", 0, [Record("im.inbound", 0, n, 0, b"d:a:b", b"") for n in range(count)], 0.0)


def test_every_record_is_counted_once() -> None:
    """Done, repeats and dead letters add up to the records; each of them took the batch's time."""
    batch = a_batch(10)
    batch.repeats = 3
    batch.bury(batch.records[0], Undecodable("poison"))
    metrics.stage("t-counted").batch_done(batch, 0.25)
    seen = look()
    results = {r: total(seen, "im_stage_messages_total", stage="t-counted", result=r) for r in RESULTS}
    assert results == {"done": 6, "repeat": 3, "dead_letter": 1}
    assert total(seen, "im_stage_duration_seconds_count", stage="t-counted") == 10
    found = quantile(0.5, seen, "im_stage_duration_seconds", stage="t-counted")
    assert found is not None
    assert 0.2 < found < 0.3


def test_a_partition_that_left_is_not_spoken_of() -> None:
    """Another worker speaks of it now: two answers would hide its lag."""
    stage = metrics.stage("t-left")
    stage.stand(metrics.standings({0, 1}, {0: 5}, {0: 9, 1: 2}, {0: 4_000}, 5_500))
    seen = look()
    assert total(seen, "im_stage_lag_records", stage="t-left") == 6
    assert total(seen, "im_stage_lag_seconds", stage="t-left") == 1.5
    assert total(seen, "im_stage_committed_offset", stage="t-left") == 5
    stage.stand(metrics.standings({1}, {1: 2}, {1: 2}, {1: 5_000}, 5_500))
    seen = look()
    assert total(seen, "im_stage_lag_records", stage="t-left", partition="0") == 0
    assert not any(("partition", "0") in labels and ("stage", "t-left") in labels for _, labels in seen)
    stage.stand({})
    assert not any("lag" in name and ("stage", "t-left") in labels for name, labels in look())


def test_series_are_bounded() -> None:
    """A stage has a fixed number of series, and each partition a few: users and messages add none."""
    names = {f"t-bound-{spec.name}": 4 for spec in STAGES}
    for name, partitions in names.items():
        stage = metrics.stage(name)
        owned = set(range(partitions))
        stage.stand(metrics.standings(owned, {}, {}, dict.fromkeys(owned, 0), 1))
        stage.retry()
        for count in (1, 10, 100):
            stage.batch_done(a_batch(count), 0.01 * count)
    mine = [labels for _, labels in look() if dict(labels).get("stage") in names]
    assert len(mine) <= len(names) * (SERIES_OF_A_STAGE + 4 * SERIES_OF_A_PARTITION)
    assert {name for labels in mine for name, _ in labels} <= {"stage", "partition", "result", "le"}
