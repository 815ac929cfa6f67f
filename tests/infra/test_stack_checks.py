"""infra/stack/checks.py"""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from infra.settings import Settings
from infra.stack.addresses import Address
from infra.stack.checks import (
    Check,
    check_disk,
    check_java,
    check_maven,
    check_ports,
    find_java,
    java_major,
    require,
)
from schemas.errors import SettingsError


def fake_program(folder: Path, name: str, output: str) -> Path:
    program = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\ncat <<'EOT' >&2\n{output}\nEOT\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("output", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "25-ea"', 25),
        ("command not found", None),
    ],
)
def test_the_java_version_is_read_from_what_it_says(output: str, major: int | None) -> None:
    """Old and new ways of numbering."""
    assert java_major(output) == major


async def test_an_old_java_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """Title and fix make one sentence."""
    java = fake_program(tmp_path, "java", 'openjdk version "11.0.2"')
    check = await check_java(str(java))

    assert not check.ok
    assert check.title.endswith("is Java 11, 17 is needed")
    assert "openjdk-17" in check.fix


async def test_a_new_java_is_fine(tmp_path: Path) -> None:
    """17 and everything after it."""
    assert await check_java(str(fake_program(tmp_path, "java", 'openjdk version "21.0.1"'))) == Check(
        "Java 21", True
    )


async def test_no_java_is_a_finding() -> None:
    """And no traceback."""
    assert not (await check_java(None)).ok


def test_java_home_wins_over_the_path(tmp_path: Path) -> None:
    """Both are usual; the more explicit one counts."""
    fake_program(tmp_path / "path", "java", "")
    at_home = fake_program(tmp_path / "home" / "bin", "java", "")
    environ = {"PATH": str(tmp_path / "path"), "JAVA_HOME": str(tmp_path / "home")}

    assert find_java(environ) == str(at_home)
    assert find_java({"PATH": str(tmp_path / "path")}) == str(tmp_path / "path" / "java")
    assert find_java({"PATH": str(tmp_path)}) is None


def test_a_full_disk_is_seen_before_anything_starts(tmp_path: Path) -> None:
    """The fix names the folder and the setting; the folder need not exist yet."""
    check = check_disk(tmp_path / "not" / "there", needed_bytes=1 << 80)

    assert not check.ok
    assert "IM_DATA_DIR" in check.fix


def test_a_taken_port_names_the_setting_that_moves_it() -> None:
    """Only what is wrong is said."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = Address(*server.getsockname())
        (check,) = check_ports({"IM_KAFKA": taken})

    assert check == Check(f"{taken} is taken", False, "stop what listens there, or set IM_KAFKA")
    assert check_ports({"IM_KAFKA": taken}) == []


def test_maven_is_needed_only_until_the_jars_are_there(tmp_path: Path) -> None:
    """A machine with kept jars runs without it."""
    check = check_maven(Settings(jars_dir=tmp_path), {"PATH": str(tmp_path)})

    assert not check.ok
    assert "jars of kafka and cassandra" in check.title


def test_require_names_every_finding_at_once() -> None:
    """Nobody mends one thing to learn of the next."""
    checks = [
        Check("java", True),
        Check("no disk", False, "make room"),
        Check("no port", False, "set IM_PORT"),
    ]

    with pytest.raises(SettingsError, match=r"^no disk → make room\nno port → set IM_PORT$"):
        require(checks)
