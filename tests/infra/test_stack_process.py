"""infra/stack/process.py with real children that live for moments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from infra.stack.process import ChildProcess, ChildSpec, describe_exit, last_lines, run_to_end, trim_log
from schemas.errors import Unavailable

SLEEP = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True);"
    "time.sleep(600)"
)
PARENT = """
import asyncio, sys
from pathlib import Path
from infra.stack.process import ChildProcess, ChildSpec

async def ready():
    return True

async def main():
    child = ChildProcess(ChildSpec("orphan", (sys.executable, "-c", "import time; time.sleep(600)"),
                                   Path(sys.argv[1]), ready))
    await child.start()
    print(child.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


def spec_of(code: str, log: Path, **changes: object) -> ChildSpec:
    given: dict[str, object] = {
        "name": "child",
        "argv": (sys.executable, "-c", code),
        "log": log,
        "ready": yes,
    }
    return ChildSpec(**{**given, **changes})  # type: ignore[arg-type]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log" / "child.log"


@pytest.fixture
async def sleeper(log: Path) -> AsyncIterator[ChildProcess]:
    child = ChildProcess(spec_of(SLEEP, log))
    await child.start()
    yield child
    await child.stop()


async def test_a_child_leads_its_own_session(sleeper: ChildProcess) -> None:
    """A Ctrl-C in the terminal reaches the parent only, which then stops its children in order."""
    assert os.getsid(sleeper.pid) == sleeper.pid != os.getsid(0)


async def test_stop_ends_a_child(sleeper: ChildProcess) -> None:
    """SIGTERM is enough for a child that listens, and stopping it twice is harmless."""
    await sleeper.stop()
    await sleeper.stop()

    assert not sleeper.running
    assert await sleeper.wait() == -signal.SIGTERM


async def test_stop_kills_a_child_that_does_not_listen(log: Path) -> None:
    """After the bounded wait comes SIGKILL."""

    async def deaf() -> bool:
        return "deaf" in last_lines(log)

    child = ChildProcess(spec_of(STUBBORN, log, stop_timeout_s=0.1, ready=deaf))
    await child.start()
    await child.wait_ready()
    await child.stop()

    assert await child.wait() == -signal.SIGKILL


async def test_stop_ends_the_whole_group(log: Path) -> None:
    """What a child started ends with it."""
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"
    child = ChildProcess(spec_of(code, log))
    await child.start()
    parent = psutil.Process(child.pid)
    while not (grandchildren := parent.children()):
        await no()
    await child.stop()
    _, alive = psutil.wait_procs(grandchildren, timeout=10)

    assert alive == []


async def test_a_child_that_dies_while_starting_is_reported_with_its_log(log: Path) -> None:
    """The error names the child, its exit and its last words; nobody waits for the timeout."""
    child = ChildProcess(spec_of("import sys; sys.exit('no room left')", log, ready=no, start_timeout_s=60.0))
    await child.start()

    with pytest.raises(Unavailable, match=r"child ended with exit code 1 while starting(.|\n)*no room left"):
        await child.wait_ready()


async def test_a_child_that_is_never_ready_is_given_up(log: Path) -> None:
    """The start is bounded."""
    child = ChildProcess(spec_of(SLEEP, log, ready=no, start_timeout_s=0.1))
    await child.start()

    with pytest.raises(Unavailable, match="child was not ready after 0 s"):
        await child.wait_ready()
    await child.stop()


async def test_a_program_that_does_not_exist_is_a_clear_error(log: Path) -> None:
    """The sentence names the program."""
    child = ChildProcess(spec_of("", log, argv=("/nowhere/java",)))

    with pytest.raises(Unavailable, match="cannot run /nowhere/java: No such file"):
        await child.start()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
def test_nothing_survives_a_killed_parent(tmp_path: Path) -> None:
    """Even kill -9 of the parent ends its children."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "orphan.log")], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        orphan = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    _, alive = psutil.wait_procs([orphan], timeout=10)

    assert alive == []


async def test_run_to_end_shows_why_a_command_failed(log: Path) -> None:
    """Exit code and output are in the error."""
    with pytest.raises(Unavailable, match=r"mvn ended with exit code 3(.|\n)*offline"):
        await run_to_end("mvn", ("sh", "-c", "echo offline; exit 3"), log, 30.0)


async def test_run_to_end_is_bounded(log: Path) -> None:
    """A command that hangs is killed."""
    with pytest.raises(Unavailable, match="mvn took longer than 0 s"):
        await run_to_end("mvn", ("sleep", "600"), log, 0.05)


@pytest.mark.parametrize(
    ("code", "text"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "signal 9 (SIGKILL)"), (-99, "signal 99")]
)
def test_exits_are_described_in_words(code: int, text: str) -> None:
    """A signal has its name."""
    assert describe_exit(code) == text


def test_last_lines_of_a_large_log_are_cheap_and_few(log: Path) -> None:
    """Only the end is read."""
    log.parent.mkdir()
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))

    assert last_lines(log, 2) == "  line 99998\n  line 99999"


def test_last_lines_of_no_log_say_so(log: Path) -> None:
    """There is always something to show."""
    assert last_lines(log) == "  (there is none)"


def test_a_log_within_its_limit_stays(log: Path) -> None:
    """Nothing is moved before it must be."""
    log.parent.mkdir()
    log.write_text("short")
    trim_log(log, limit_bytes=5)

    assert log.read_text() == "short"


def test_a_log_over_its_limit_is_moved_aside(log: Path) -> None:
    """Its writer goes on with an empty file; the older part is kept once."""
    log.parent.mkdir()
    with log.open("a") as writer:
        writer.write("too long")
        writer.flush()
        trim_log(log, limit_bytes=5)
        writer.write("next")

    assert log.read_text() == "next"
    assert log.with_name("child.log.1").read_text() == "too long"
