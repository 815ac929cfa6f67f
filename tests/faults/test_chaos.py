"""Five minutes of faults on the real engines, judged by the checker."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.settings import load_settings
from infra.stack.checks import raise_descriptor_limit
from tests.faults.report import write_report
from tests.faults.run import Order
from tests.faults.watch import Silent, make_and_judge

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1_800)]

KINDS = (
    "kill-gateway", "drain-gateway", "kill-worker", "zombie-worker", "kill-kafka", "flush-redis",
    "kill-redis", "pause-cassandra", "cut-link", "one-way-link", "poison", "reconnect-storm",
)  # fmt: skip
LEAST_KINDS = 8
LEAST_OK = 3_000


async def test_every_promise_holds_under_faults(tmp_path: Path) -> None:
    """Nothing lost, repeated, reordered, stalled or shown to the wrong people."""
    raise_descriptor_limit()
    order = Order(minutes=5.0, seed=20_261_121, rate=40.0, folder=tmp_path / "run", faults=KINDS)
    summary = await make_and_judge(order, load_settings(), Silent(), LEAST_OK)
    write_report(summary, order.folder / "report.md")
    assert summary.checked.verdict == "valid", (order.folder / "report.md").read_text()
    assert summary.notes == []
    assert len([kind for kind in summary.kinds if kind.held]) >= LEAST_KINDS
