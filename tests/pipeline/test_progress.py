"""Watermarks: never past what is unhandled, and moving while nothing happens."""

from __future__ import annotations

import msgspec

from pipeline.batch import Batch
from pipeline.progress import Progress
from tests.builders import a_record


def a_batch(offset: int, done_ms: int = 0) -> Batch:
    return Batch("im.messages", 0, [a_record(b"", offset)], 0.0, done_ms=done_ms)


def test_a_handled_batch_raises_the_watermark_to_its_last_record() -> None:
    """The time of the last record is reached once the batch's effects are durable, not before."""
    progress, batch = Progress(), a_batch(7)
    progress.begin(batch)
    assert progress.watermarks() == {}
    progress.end(batch)
    assert progress.watermarks() == {0: batch.records[0].timestamp_ms}


def test_an_idle_partition_follows_the_stage_before_it() -> None:
    """With everything read, what may still come is later than the upstream watermark."""
    progress = Progress()
    batch = a_batch(7, done_ms=100)
    progress.begin(batch)
    progress.end(batch)
    progress.idle({0: 8}, {}, {0: 500})
    assert progress.watermarks() == {0: 500}


def test_a_partition_with_unread_records_stays() -> None:
    """A record at the end of the log that is not handled holds the watermark back."""
    progress = Progress()
    batch = a_batch(7, done_ms=100)
    progress.begin(batch)
    progress.end(batch)
    progress.idle({0: 9}, {}, {0: 500})
    assert progress.watermarks() == {0: 100}


def test_a_batch_under_way_holds_the_watermark_back() -> None:
    """A partition is not idle while a batch's effects are being made durable."""
    progress = Progress()
    progress.begin(a_batch(7))
    progress.idle({0: 7}, {0: 7}, {0: 500})
    assert progress.watermarks() == {}


def test_a_fresh_owner_starts_from_the_committed_offset() -> None:
    """A partition that saw no record here yet is idle when its committed offset is the end."""
    progress = Progress()
    progress.idle({0: 8, 1: 3}, {0: 8, 1: 2}, {0: 500, 1: 500})
    assert progress.watermarks() == {0: 500}


def test_a_watermark_never_falls() -> None:
    """An upstream that was forgotten and starts low takes nothing back."""
    progress = Progress()
    progress.idle({0: 0}, {}, {0: 500})
    progress.idle({0: 0}, {}, {0: 400})
    assert progress.watermarks() == {0: 500}


def test_a_stall_is_found_only_when_nothing_moves_though_records_wait() -> None:
    """Unread records, nothing under way, the same position for the whole time: stalled."""
    progress = Progress()
    assert progress.stalled({0}, {0: 5}, {0: 2}, 0.0, 10.0) == set()
    assert progress.stalled({0}, {0: 6}, {0: 2}, 9.0, 10.0) == set()
    assert progress.stalled({0}, {0: 6}, {0: 2}, 10.0, 10.0) == {0}
    assert progress.stalled({0}, {0: 6}, {0: 3}, 11.0, 10.0) == set()
    assert progress.stalled({0}, {0: 3}, {0: 3}, 60.0, 10.0) == set()


def test_an_idle_partition_goes_by_the_broker_s_clock() -> None:
    """Our own wall clock may jump by hours; the newest record and what has passed since tell the time."""
    progress = Progress()
    assert progress.log_time_ms(now_ms=50_000, monotonic=7.0) == 50_000
    for polled_at, timestamp_ms in ((10.0, 100_000), (11.0, 100_200), (12.0, 102_000)):
        record = msgspec.structs.replace(a_record(b"", 7), timestamp_ms=timestamp_ms)
        progress.end(Batch("im.accepted", 0, [record], polled_at))
    for wall_ms in (103_000, 103_000 + 3_600_000, 103_000 - 3_600_000):
        assert progress.log_time_ms(wall_ms, monotonic=13.0) == 103_000
