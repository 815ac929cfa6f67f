"""WebSocket as Autobahn understands it: our connections and frame reader under its fuzzing client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

SUITE = Path(__file__).parents[2] / ".skein" / "autobahn"
PYTHON27 = os.environ.get("PYTHON27", "python2.7")
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
"""All but limits (9: ours are much lower) and compression (12, 13: we offer none)."""
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
RUN = "import sys; from autobahntestsuite.wstest import run; sys.argv[0] = 'wstest'; run()"


def test_all_cases_of_autobahn_are_passed(tmp_path: Path) -> None:
    """247 of 247, over the very code that carries sessions."""
    if not _can_run():
        pytest.skip("Autobahn is not here: `make conformance PYTHON27=…` installs it for a Python 2.7")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.gateway.echo_server"], stdout=subprocess.PIPE, text=True
    ) as echo:
        try:
            assert echo.stdout is not None
            results = _fuzz(int(echo.stdout.readline()), tmp_path)
        finally:
            echo.terminate()
    bad = {case: result for case, result in results.items() if not set(result) <= GOOD}
    assert bad == {}
    assert len(results) == 247


def _can_run() -> bool:
    try:
        probe = subprocess.run([PYTHON27, "-c", ""], capture_output=True, timeout=30, check=False)
    except FileNotFoundError:
        return False
    return probe.returncode == 0 and SUITE.is_dir()


def _fuzz(port: int, folder: Path) -> dict[str, tuple[str, str]]:
    """Case → (how it behaved, how it closed)."""
    server = {"agent": "skein", "url": f"ws://127.0.0.1:{port}/v1/ws", "options": {"version": 18}}
    spec = folder / "spec.json"
    run = {"outdir": str(folder), "servers": [server], "cases": CASES}
    spec.write_text(json.dumps(run | {"exclude-cases": [], "exclude-agent-cases": {}}))
    subprocess.run(
        [PYTHON27, "-c", RUN, "-m", "fuzzingclient", "-s", str(spec)],
        env={**os.environ, "PYTHONPATH": str(SUITE)},
        cwd=folder,
        capture_output=True,
        timeout=240,
        check=True,
    )
    found = json.loads((folder / "index.json").read_text())["skein"]
    return {case: (result["behavior"], result["behaviorClose"]) for case, result in found.items()}
