"""infra/advisories.py"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import msgspec

from infra.advisories import Report, summary


def read(*packages: Mapping[str, object]) -> Report:
    return msgspec.convert({"dependencies": packages}, Report)


def test_findings_fail_and_name_the_way_out() -> None:
    """With the package, the advisory and the version to take."""
    hole = {"name": "old", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
    lines, passed = summary(read(hole, {"name": "good", "version": "2"}))
    assert not passed
    assert lines[0] == "✘ old 1.0: PYSEC-1 → 1.1"


def test_what_was_not_looked_up_is_not_called_clean() -> None:
    """It passes, since the service may be away, and says that it proved nothing."""
    lines, passed = summary(read({"name": "x", "skip_reason": "not found"}, {"name": "y", "version": "1"}))
    assert passed
    assert lines == [
        "✔ 1 packages looked up, 0 advisories",
        "! 1 packages NOT looked up: the advisory service did not know or answer them",
    ]


def test_no_report_is_said_aloud() -> None:
    """An audit that could not run ends well, with a line that nobody takes for a pass."""
    run = subprocess.run(
        [sys.executable, "-m", "infra.advisories"], input=b"", capture_output=True, timeout=60, check=False
    )
    assert run.returncode == 0
    assert "NOTHING looked up" in run.stdout.decode()
