"""`im run` as a person meets it: a real process on real engines."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from infra.settings import Settings, load_settings
from infra.stack.addresses import parse_address, with_free_ports
from infra.stack.environment import child_environment

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

READY = "Ctrl-C stops"


class Run:
    """One `im` process, what it printed, and all processes it started."""

    def __init__(self, settings: Settings, *arguments: str, **environ: str) -> None:
        self.printed = ""
        self.started: list[psutil.Process] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "infra.cli", *arguments],
            env={**child_environment(settings, os.environ), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def until_ready(self) -> None:
        """Read up to the last line of the start."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.printed += line
            if READY in line:
                self.started = psutil.Process(self._process.pid).children(recursive=True)
                return
        pytest.fail(f"it ended before it was ready:\n{self.printed}")

    def end(self, number: signal.Signals | None = None) -> int:
        """Wait for the end, after a signal if one is given; return the exit code."""
        if number is not None:
            self._process.send_signal(number)
        rest, _ = self._process.communicate(timeout=120)
        self.printed += rest
        return self._process.returncode

    @property
    def left_behind(self) -> list[psutil.Process]:
        _, alive = psutil.wait_procs(self.started, timeout=30)
        return alive


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return with_free_ports(load_settings().model_copy(update={"data_dir": tmp_path / "data"}))


def test_engines_start_stop_and_start_again_from_kept_data(settings: Settings) -> None:
    """Ctrl-C leaves no process and all data; a second run takes them up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        run = Run(settings, "run", "--engines-only")
        run.until_ready()
        assert {process.name() for process in run.started} == {"java", "redis-server"}

        assert run.end(number) == 0
        assert run.left_behind == []
        assert "Traceback" not in run.printed
    assert (settings.data_dir / "kafka" / "data" / "meta.properties").exists()


def test_a_killed_run_leaves_no_process(settings: Settings) -> None:
    """And the next one starts from what it left."""
    run = Run(settings, "run", "--engines-only")
    run.until_ready()
    run.end(signal.SIGKILL)

    assert run.left_behind == []

    again = Run(settings, "run", "--engines-only")
    again.until_ready()
    assert again.end(signal.SIGINT) == 0


def test_a_taken_port_is_a_sentence(settings: Settings) -> None:
    """It names the port and the setting that moves it; nothing was started."""
    with socket.socket() as other:
        other.bind(parse_address(settings.kafka, "IM_KAFKA"))
        other.listen()
        run = Run(settings, "run")

        assert run.end() == 2
    assert f"{settings.kafka} is taken → stop what listens there, or set IM_KAFKA" in run.printed
    assert "Traceback" not in run.printed


def test_a_missing_java_is_a_sentence(settings: Settings, tmp_path: Path) -> None:
    """With the command that installs it."""
    run = Run(settings, "run", PATH=str(tmp_path), JAVA_HOME="")

    assert run.end() == 2
    assert "Java not found → apt-get install openjdk-17" in run.printed
    assert "Traceback" not in run.printed


def test_a_wrong_setting_is_a_sentence(settings: Settings) -> None:
    """It names the variable."""
    run = Run(settings, "run", IM_PORT="high")

    assert run.end() == 2
    assert "IM_PORT" in run.printed
    assert "Traceback" not in run.printed


def test_two_runs_on_the_same_data_exclude_each_other(settings: Settings) -> None:
    """The second one says who is there, and the first one does not notice."""
    first = Run(settings, "run", "--engines-only")
    first.until_ready()
    second = Run(with_free_ports(settings), "run", "--engines-only")

    assert second.end() == 2
    assert "is in use by process" in second.printed
    assert first.end(signal.SIGINT) == 0


def test_a_message_passes_the_whole_path(settings: Settings) -> None:
    """Everything starts, the trial message arrives, the addresses are printed, Ctrl-C ends all."""
    run = Run(settings, "run")
    run.until_ready()

    assert "✔ trial message alice → bob" in run.printed
    assert f"http://127.0.0.1:{settings.port}/?as=alice" in run.printed
    assert run.end(signal.SIGINT) == 0
    assert run.left_behind == []
