"""tests/faults/leaks.py"""

from __future__ import annotations

from pathlib import Path

from tests.faults.history import canary
from tests.faults.leaks import find_leaks


def test_a_text_in_a_log_is_found(tmp_path: Path) -> None:
    """With the log and the message it is of, also between bytes that are no text."""
    (tmp_path / "gw-1.log").write_bytes(
        b"fine\n\xff\xfe " + canary("ann", "a.1").encode() + b' {"event": "sent"}\n'
    )
    (tmp_path / "worker-1.log").write_text("all is well\n")
    [leak] = find_leaks(tmp_path)
    assert (leak.where, leak.mid) == ("gw-1.log", "ann/a.1")
    assert "sent" in leak.line
