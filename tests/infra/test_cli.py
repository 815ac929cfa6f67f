"""infra/cli.py"""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from infra.cli import command, exit_code
from schemas.errors import BadInput, ImError, OutcomeUnknown, SettingsError, Unavailable


@pytest.mark.parametrize(
    ("error", "code"),
    [(SettingsError(), 2), (BadInput(), 2), (Unavailable(), 3), (OutcomeUnknown(), 3), (ImError(), 1)],
)
def test_each_kind_of_error_has_its_exit_code(error: ImError, code: int) -> None:
    """Scripts can tell a slip of their own from a service that is away."""
    assert exit_code(error) == code


@pytest.mark.parametrize(
    "name", ["run", "token", "gateway", "worker", "tap", "send", "chat", "bench", "chaos"]
)
def test_commands_of_every_package_are_found(name: str) -> None:
    """The root command knows them by entry point only; each shows an example or says what it does."""
    result = CliRunner().invoke(command(), [name, "--help"])

    assert result.exit_code == 0
    assert name in result.output


def test_an_error_is_one_clear_line() -> None:
    """No traceback, and the exit code says of what kind it is."""
    ended = subprocess.run(
        [sys.executable, "-m", "infra.cli", "token", "alice"],
        env={"IM_PORT": "high", "IM_PARTITIONS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 2
    assert ended.stderr.startswith("✘ ")
    assert "IM_PORT" in ended.stderr
    assert "IM_PARTITIONS" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_command_line_starts_without_engines_or_drivers() -> None:
    """`im --help` is quick: nothing heavy is imported before a command runs."""
    code = (
        "import sys; from infra.cli import command; command();"
        "print({'aiokafka', 'cassandra', 'redis', 'faust', 'matplotlib'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "set()"
