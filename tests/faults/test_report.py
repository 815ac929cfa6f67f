"""report.py: both halves of a run on one page, in three formats."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from tests.faults.checker.availability import Availability, Window
from tests.faults.checker.check import Report
from tests.faults.checker.findings import Anomaly, Invariant
from tests.faults.checker.recovery import Recovery
from tests.faults.conductor import Strike
from tests.faults.history import Run
from tests.faults.report import Summary, summarise, write_report
from tests.faults.run import Outcome


def window(fault: str, kind: str, rto_s: float, sends: int = 100, answered: int = 99) -> Window:
    return Window(
        fault=fault, kind=kind, target="worker-1", began_t=1.0, healed_t=2.0, took_hold=True, sends=sends,
        answered=answered, unanswered=0, available=0.999, longest_gap_s=rto_s / 2, unavailable_s=0.0,
        rto_s=rto_s, accepted_p50_ms=1.0, accepted_p99_ms=2.0, deliver_p50_ms=None, deliver_p99_ms=None,
    )  # fmt: skip


def strike(fault: str, back_s: float | None) -> Strike:
    return Strike(
        fault, "kill-worker", "worker-1", 1.0, held="gone", healed_at=2.0,
        back="ready" if back_s is not None else None, back_at=None if back_s is None else 2.0 + back_s,
    )  # fmt: skip


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    anomaly = Anomaly(name="lost <here>", count=2, witness={"mid": "ann/1"})
    checked = Report(
        run="chaos-1",
        verdict="invalid",
        unknown=[],
        partitions={},
        counts={"ok": 98, "sends": 100, "deliveries": 300},
        invariants=[Invariant(id="I1", says="kept", looked_at=100, broken=2, anomalies=[anomaly])],
        availability=Availability(
            overall=window("", "whole run", 0.0),
            faults=[window("k-1", "kill-worker", 4.0), window("k-2", "kill-worker", 2.0)],
        ),
        recoveries=[
            Recovery(
                fault="k-1",
                kind="kill-worker",
                returned=3,
                returned_p50_ms=400.0,
                returned_p99_ms=1_900.0,
                first_stored_s=1.0,
                drained_s=2.5,
            )
        ],
    )
    outcome = Outcome(tmp_path, [strike("k-1", 1.5), strike("k-2", None)], Counter(text=100), {"clock": "no"})
    return summarise(Run(run="chaos-1", started_t=0, ended_t=9, started_unix_ms=0, seed=1), checked, outcome)


def test_each_kind_has_its_recovery_times(summary: Summary) -> None:
    """Of those that came back; what did not is told in a note."""
    [kind] = summary.kinds
    assert (kind.count, kind.held, kind.back_p50, kind.back_max) == (2, 2, 1.5, 1.5)
    assert (kind.rto_p50, kind.rto_max, kind.silence_max) == (4.0, 4.0, 2.0)
    assert any("k-2" in note and "not seen to be over" in note for note in summary.notes)
    assert summary.definite_share == 0.99


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_people_read_verdict_anomalies_and_witnesses(summary: Summary, name: str, tmp_path: Path) -> None:
    """The page stands for itself, and what a run says cannot become markup."""
    path = tmp_path / name
    write_report(summary, path)
    text = path.read_text()
    for part in ("invalid", "kill-worker", "mid=ann/1", "98 of 100", "Left out", "3: 400.0 / 1,900.0 ms"):
        assert part in text
    assert ("lost <here>" in text) is (name == "report.md")


def test_programs_read_json(summary: Summary, tmp_path: Path) -> None:
    """Everything comes back as it was."""
    path = tmp_path / "report.json"
    write_report(summary, path)
    assert msgspec.json.decode(path.read_bytes(), type=Summary) == summary
