"""clocks.py: a process whose clock is moved sees another wall time, and the same monotonic one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.clocks import Clocks

TELL = "import time; print(time.time(), time.time_ns() / 1e9, time.monotonic())"
NEAR_S = 600.0


@pytest.mark.parametrize("offset_s", [0, 3_600, -3_600])
def test_a_moved_clock_is_what_the_process_reads(tmp_path: Path, offset_s: int) -> None:
    """Ahead or behind, in seconds and in nanoseconds; what waits by the monotonic clock is not disturbed."""
    clocks = Clocks(tmp_path)
    environment = {**os.environ, **clocks.environment("gw-1")}
    clocks.set("gw-1", offset_s)
    told = subprocess.run([sys.executable, "-c", TELL], env=environment, capture_output=True, check=True)
    seconds, nanoseconds, monotonic = map(float, told.stdout.split())
    assert seconds - time.time() == pytest.approx(offset_s, abs=NEAR_S)
    assert nanoseconds - time.time() == pytest.approx(offset_s, abs=NEAR_S)
    assert monotonic == pytest.approx(time.monotonic(), abs=NEAR_S)
