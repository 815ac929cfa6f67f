"""infra/stack/supervisor.py with real children that live for moments."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from infra.lifecycle import HAND_OVER, STANDBY
from infra.stack.process import ChildSpec
from infra.stack.standby import Standby
from infra.stack.supervisor import Supervisor
from infra.together import together
from schemas.errors import BadInput, Unavailable

SLEEP = "import time; time.sleep(600)"


async def yes() -> bool:
    return True


def spec_of(tmp_path: Path, code: str = SLEEP, name: str = "child") -> ChildSpec:
    return ChildSpec(name, (sys.executable, "-c", code), tmp_path / f"{name}.log", yes)


async def test_leaving_stops_every_child(tmp_path: Path) -> None:
    """No child is left when the block ends."""
    async with Supervisor(lambda _: None) as supervisor:
        await together(
            supervisor.start(spec_of(tmp_path, name="a")), supervisor.start(spec_of(tmp_path, name="b"))
        )
        processes = [psutil.Process(pid) for pid in supervisor.pids.values()]

    assert len(processes) == 2
    assert not any(process.is_running() for process in processes)


async def test_leaving_by_an_error_stops_every_child(tmp_path: Path) -> None:
    """However the block ends."""
    processes: list[psutil.Process] = []

    async def fail_after_start() -> None:
        async with Supervisor(lambda _: None) as supervisor:
            await supervisor.start(spec_of(tmp_path))
            processes.append(psutil.Process(supervisor.pids["child"]))
            raise Unavailable("later")

    with pytest.raises(Unavailable, match="later"):
        await fail_after_start()
    assert [process.is_running() for process in processes] == [False]


async def test_a_killed_child_comes_back(tmp_path: Path) -> None:
    """A crash is told to a person and mended."""
    told: list[str] = []
    async with Supervisor(told.append) as supervisor:
        await supervisor.start(spec_of(tmp_path))
        before = supervisor.pids["child"]
        supervisor.kill("child")
        await supervisor.wait_ready("child")

        assert supervisor.pids["child"] != before
        assert "child ended with signal 9 (SIGKILL), starting it again" in told[0]


async def test_restart_replaces_a_child_without_alarm(tmp_path: Path) -> None:
    """A restart on purpose is no crash."""
    told: list[str] = []
    async with Supervisor(told.append) as supervisor:
        await supervisor.start(spec_of(tmp_path))
        before = supervisor.pids["child"]
        await supervisor.restart("child")

        assert supervisor.pids["child"] != before
    assert told == []


async def test_a_child_that_keeps_ending_is_given_up(tmp_path: Path) -> None:
    """The error names it and shows the end of its log."""
    delays = [0.0, 0.0, 0.0, None]
    async with Supervisor(lambda _: None, lambda ended, _: delays[ended]) as supervisor:
        await supervisor.start(spec_of(tmp_path, "import sys; sys.exit('out of luck')"))

        with pytest.raises(Unavailable, match=r"child ended 3 times in a row(.|\n)*out of luck"):
            await asyncio.wait_for(supervisor.wait_failed(), 60)


async def test_names_are_unique(tmp_path: Path) -> None:
    """A second child of the same name would be lost from sight."""
    async with Supervisor(lambda _: None) as supervisor:
        await supervisor.start(spec_of(tmp_path))

        with pytest.raises(BadInput, match="already kept"):
            await supervisor.start(spec_of(tmp_path))


async def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    """A slip in a name is easy to mend."""
    async with Supervisor(lambda _: None) as supervisor:
        await supervisor.start(spec_of(tmp_path))

        with pytest.raises(BadInput, match="no child is named kid; there are: child"):
            supervisor.kill("kid")


WAITS = (
    f"import os, sys, time; os.environ.get('{STANDBY}') and (os.write(0, b'here'), sys.stdin.readline()); "
    "time.sleep(600)"
)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


async def standby_of(supervisor: Supervisor, before: set[int]) -> int:
    """The process that is there beside the child."""
    while True:
        found = children() - before - set(supervisor.pids.values())
        if found:
            return found.pop()
        await asyncio.sleep(0.05)


async def test_a_standby_takes_over(tmp_path: Path) -> None:
    """Who is started again was there already, and somebody else stands by in turn."""
    before = children()
    async with Supervisor(lambda _: None) as supervisor:
        await supervisor.start(replace(spec_of(tmp_path, WAITS), standby=True))
        first, standby = supervisor.pids["child"], await standby_of(supervisor, before)
        supervisor.kill("child")
        await supervisor.wait_ready("child")

        assert supervisor.pids["child"] == standby != first
        assert await standby_of(supervisor, before) not in (first, standby)
    assert children() <= before


async def test_a_restart_loads_the_new_process_before_the_old_one_ends(tmp_path: Path) -> None:
    """Also when somebody stood by already: he may be of an older version. The old one is told of it."""
    told = tmp_path / "told"
    loads = f"import os, time; open({str(told)!r}, 'a').write(f'{{os.getpid()}} loads\\n'); {WAITS}"
    ends = (
        f"import os, signal, sys; signal.signal({HAND_OVER:d}, lambda *_: ("
        f"open({str(told)!r}, 'a').write(f'{{os.getpid()}} ends\\n'), sys.exit()))"
    )
    before = children()
    async with Supervisor(lambda _: None) as supervisor:
        await supervisor.start(replace(spec_of(tmp_path, f"{ends}; {loads}"), standby=True))
        first, older = supervisor.pids["child"], await standby_of(supervisor, before)
        await supervisor.restart("child")
        second = supervisor.pids["child"]
        said = told.read_text().splitlines()

    assert second not in (first, older)
    assert said.index(f"{second} loads") < said.index(f"{first} ends")


async def test_without_a_standby_a_new_process_starts(tmp_path: Path) -> None:
    """A standby that died is nobody to wait for."""
    before = children()
    async with Supervisor(lambda _: None) as supervisor:
        await supervisor.start(replace(spec_of(tmp_path, WAITS), standby=True))
        standby = await standby_of(supervisor, before)
        psutil.Process(standby).kill()
        while psutil.pid_exists(standby):
            await asyncio.sleep(0.05)
        supervisor.kill("child")
        await supervisor.wait_ready("child")

        assert supervisor.pids["child"] != standby


def kill(process: psutil.Process) -> None:
    """Return when it has ended; the loop stands still meanwhile, so nobody here has noticed."""
    process.kill()
    with suppress(ChildProcessError):  # asyncio's thread has been quicker
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="the kernel does not share by session")
async def test_a_standby_gives_way_until_it_is_taken(tmp_path: Path) -> None:
    """What it needs to load it takes from nobody who works."""
    before = children()
    standby = Standby(replace(spec_of(tmp_path, WAITS), standby=True), settle_s=0.0)
    assert await standby.wait_tried()
    (pid,) = children() - before
    shares = Path(f"/proc/{pid}/autogroup")
    assert shares.read_text().endswith("nice 15\n")
    taken = await standby.take()
    assert taken is not None
    assert shares.read_text().endswith("nice 0\n")
    await taken.stop()


@pytest.mark.parametrize("dies", [False, True], ids=["lives", "dies"])
@pytest.mark.parametrize("end", ["take", "dismiss"])
async def test_whatever_becomes_of_a_standby_its_gate_is_shut(tmp_path: Path, end: str, dies: bool) -> None:
    """Also when it died and nobody has noticed yet."""
    before, here = children(), psutil.Process()
    files = here.num_fds()
    standby = Standby(replace(spec_of(tmp_path, WAITS), standby=True), settle_s=0.0)
    assert await standby.wait_tried()
    (process,) = (psutil.Process(pid) for pid in children() - before)
    if dies:
        kill(process)
    taken = await (standby.take() if end == "take" else standby.dismiss())
    if taken is not None:
        await taken.stop()

    assert here.num_fds() == files
    assert children() <= before
