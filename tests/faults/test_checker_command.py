"""The command reads a folder, says the verdict, and exits by it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.faults.checker.__main__ import main
from tests.faults.checker.check import Report, check
from tests.faults.checker.findings import INVARIANTS
from tests.faults.folder import Folder
from tests.faults.specimen.story import a_clean_history

README = Path(__file__).parent / "checker" / "README.md"


def test_a_valid_run_exits_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From disk the report is the same as from memory, and as JSON it reads back."""
    told = a_clean_history(seed=5)
    told.write_to(Folder(tmp_path))
    assert main([str(tmp_path), "--minimum-ok", "50", "-o", "json"]) == 0
    report = msgspec.json.decode(capsys.readouterr().out, type=Report)
    assert msgspec.to_builtins(report) == msgspec.to_builtins(check(told, 50))


def test_an_invalid_run_exits_1_with_the_witness(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table names the invariant, the anomaly and the ids of its first witness."""
    told = a_clean_history(seed=5)
    lost = told.tables["messages"].pop()
    told.write_to(Folder(tmp_path))
    assert main([str(tmp_path), "--minimum-ok", "50"]) == 1
    out = capsys.readouterr().out
    assert "✘ I1 " in out
    assert f"row missing; first: conversation={lost.conversation} seq={lost.seq}" in out


def test_a_run_that_shows_too_little_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A short run is unknown, and so is what is no run at all; each says why."""
    a_clean_history(seed=5).write_to(Folder(tmp_path / "short"))
    assert main([str(tmp_path / "short")]) == 2
    assert "sends went well, 10000 are needed" in capsys.readouterr().out
    assert main([str(tmp_path / "nothing")]) == 2
    assert "holds no history that can be judged" in capsys.readouterr().err


def test_the_readme_tells_of_every_invariant() -> None:
    """Its table has a row for each, in the words of the checker."""
    text = README.read_text()
    assert [name for name, says in INVARIANTS.items() if f"| {name} | {says} |" not in text] == []
