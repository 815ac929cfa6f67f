"""Rates, quantiles and lag as `im top` works them out."""

from __future__ import annotations

from io import StringIO

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from rich.console import Console

from infra.ports import Announced
from infra.telemetry.exposition import parse_look
from infra.telemetry.histogram import BatchHistogram
from infra.telemetry.scrape import Seen
from pipeline.ops.accounts.audit import Account
from pipeline.ops.top.figures import Offsets, Top, Watch, figures
from pipeline.ops.top.view import page_of

STAGES = ["moderation", "persistence"]
ACCOUNT = Account(0, 60_000, 61_000, {}, 0, {"accepted-message": 3}, [])


class FakeWorker:
    """A process with a stage in it, whose figures are set by hand."""

    def __init__(self, name: str) -> None:
        self.process = Announced("worker", name, f"{name}:1")
        self.registry = CollectorRegistry()
        place = ["stage", "partition"]
        labels = ["stage", "result"]
        self.messages = Counter("im_stage_messages_total", "t", labels, registry=self.registry)
        self.seconds = BatchHistogram("im_stage_duration_seconds", "t", ["stage"], registry=self.registry)
        self.lag = Gauge("im_stage_lag_records", "t", place, registry=self.registry)
        self.behind = Gauge("im_stage_lag_seconds", "t", place, registry=self.registry)

    def handle(self, count: int, seconds: float, result: str = "done") -> None:
        self.messages.labels("moderation", result).inc(count)
        self.seconds.labels("moderation").observe(seconds, count)

    def stand(self, partition: int, waiting: int, behind_s: float) -> None:
        self.lag.labels("moderation", str(partition)).set(waiting)
        self.behind.labels("moderation", str(partition)).set(behind_s)

    def seen(self, at: float) -> Seen:
        return Seen(at, parse_look(generate_latest(self.registry).decode()))


def watch_of(at: float, *workers: FakeWorker, committed: int = 0, end: int = 0) -> Watch:
    offsets = Offsets(at, "im.inbound", {0: committed}, {0: end})
    return Watch({w.process: w.seen(at) for w in workers}, [], {"im.moderation": offsets})


def test_workers_of_a_stage_add_up() -> None:
    """Rates and waiting records are summed, the worst lag counts, quantiles are over all messages."""
    one, two = FakeWorker("w1"), FakeWorker("w2")
    one.stand(0, 3, 0.5)
    two.stand(1, 4, 2.5)
    before = watch_of(100.0, one, two)
    one.handle(900, 0.010)
    two.handle(90, 0.100)
    two.handle(10, 0.100, "dead_letter")
    top = figures(before, watch_of(110.0, one, two), STAGES)
    moderation, persistence = top.stages
    assert moderation.workers == 2
    assert moderation.messages_per_s == 100.0
    assert moderation.errors_per_s == 1.0
    assert (moderation.waiting, moderation.behind_s) == (7, 2.5)
    assert moderation.p50_ms is not None
    assert 8 < moderation.p50_ms < 12.5
    assert moderation.p99_ms is not None
    assert 80 < moderation.p99_ms < 125
    assert (persistence.workers, persistence.messages_per_s, persistence.p50_ms) == (0, 0.0, None)
    assert persistence.behind_s is None


def test_a_restarted_worker_never_counts_backwards() -> None:
    """Its counters begin at zero again; the rate is what it did since."""
    old, new = FakeWorker("w1"), FakeWorker("w1")
    old.stand(0, 0, 0.0)
    new.stand(0, 0, 0.0)
    old.handle(1_000, 0.01)
    before = watch_of(0.0, old)
    new.handle(50, 0.01)
    assert figures(before, watch_of(10.0, new), STAGES).stages[0].messages_per_s == 5.0


def test_a_group_that_stands_still_names_its_partition() -> None:
    """Records are waiting and nothing was committed between the looks; one that moves is fine."""
    before = watch_of(0.0, committed=10, end=12)
    (stuck,) = figures(before, watch_of(5.0, committed=10, end=12), STAGES).groups
    assert (stuck.still, stuck.waiting, stuck.committed_per_s) == ([0], 2, 0.0)
    (moving,) = figures(before, watch_of(5.0, committed=20, end=30), STAGES).groups
    assert (moving.still, moving.waiting, moving.committed_per_s) == ([], 10, 2.0)
    (level,) = figures(before, watch_of(5.0, committed=12, end=12), STAGES).groups
    assert level.still == []


def test_the_page_tells_what_is_wrong() -> None:
    """Missing messages and silent processes are named below the tables."""
    watch = watch_of(0.0, FakeWorker("w1"))
    silent = Watch(watch.seen, [Announced("gateway", "gw-9", "host:1")], watch.groups, ACCOUNT)
    top = figures(watch, silent, STAGES)
    assert top.unaccounted == {"accepted-message": 3}
    page = shown(top)
    assert "unaccounted accepted-message: 3" in page
    assert "gateway gw-9 at host:1 does not answer" in page


def test_without_a_ledger_the_page_says_so() -> None:
    """Nothing missing and nobody looking are two things."""
    watch = watch_of(0.0, FakeWorker("w1"))
    assert "no ledger runs" in shown(figures(watch, watch, STAGES))


def shown(top: Top) -> str:
    out = StringIO()
    Console(file=out, width=120).print(page_of(top))
    return out.getvalue()
