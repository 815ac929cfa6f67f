"""One child process: started, watched until ready, stopped within a bound.

Nothing outlives its parent: each child leads a session of its own and the kernel kills it when the parent's
thread that started it ends, however it ends. What every child runs is safe against that (P1, P6).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from infra.lifecycle import STANDBY
from schemas.errors import Unavailable

__all__ = ["ChildProcess", "ChildSpec", "Probe", "describe_exit", "last_lines", "run_to_end", "trim_log"]

Probe = Callable[[], Awaitable[bool]]
"""Says whether a child can do its work now; raises nothing."""

PROBE_INTERVAL_S: Final = 0.05
KILL_TIMEOUT_S: Final = 5.0
LOG_LIMIT_BYTES: Final = 32 * 1024 * 1024
TAIL_BYTES: Final = 8_192
TAIL_LINES: Final = 15

PR_SET_PDEATHSIG: Final = 1
LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run, how to know that it is ready, and how long each may take."""

    name: str
    argv: tuple[str, ...]
    log: Path
    ready: Probe
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    start_timeout_s: float = 90.0
    stop_timeout_s: float = 20.0
    standby: bool = False
    """Whether a second process waits to take over (`infra.lifecycle.released`)."""


class ChildProcess:
    """Runs one `ChildSpec`. Start it once; a new run is a new object."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self._process: asyncio.subprocess.Process | None = None
        self._gate: socket.socket | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise Unavailable(f"{self.spec.name} was not started")
        return self._process

    async def start(self) -> None:
        """Spawn it; its output goes to the end of its log. Raises `Unavailable` when it cannot be run."""
        self._process = await _spawn(self.spec.argv, self.spec.log, self.spec.env)

    async def start_ready(self) -> None:
        """Start it and return when it is ready; nothing is left of it if that fails or is cancelled."""
        try:
            await self.start()
            await self.wait_ready()
        except BaseException:
            await self.stop()
            raise

    async def start_standby(self) -> None:
        """Spawn it, but let it only get ready to begin. `release` lets it begin; `stop` if it is not to, also
        when it has ended."""
        env = {**self.spec.env, STANDBY: "on"}
        self._gate, theirs = socket.socketpair()
        self._gate.setblocking(False)
        try:
            with theirs:
                self._process = await _spawn(self.spec.argv, self.spec.log, env, theirs.fileno())
        except BaseException:
            self._shut_gate()
            raise

    async def wait_loaded(self) -> None:
        """Return once a standby is ready to begin; `Unavailable` if it ends before, or is too slow."""
        assert self._gate is not None
        try:
            async with asyncio.timeout(self.spec.start_timeout_s):
                loaded = await asyncio.get_running_loop().sock_recv(self._gate, 8)
        except TimeoutError:
            raise self.failure(f"did not stand by after {self.spec.start_timeout_s:.0f} s") from None
        if not loaded:
            raise self.failure("ended before it stood by")

    def release(self) -> None:
        """Let a standby begin its work, now or when it is loaded."""
        assert self._gate is not None
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended: `wait_ready` says so
            self._gate.send(b"go\n")
        self._shut_gate()

    async def wait_ready(self) -> None:
        """Return once the probe says yes; `Unavailable` with the log's end if it dies or is too slow."""
        try:
            async with asyncio.timeout(self.spec.start_timeout_s):
                while not await self.spec.ready():
                    if not self.running:
                        raise self.failure(f"ended with {describe_exit(await self.wait())} while starting")
                    await asyncio.sleep(PROBE_INTERVAL_S)
        except TimeoutError:
            raise self.failure(f"was not ready after {self.spec.start_timeout_s:.0f} s") from None

    async def wait(self) -> int:
        """Wait for the end and return the exit code; negative: the signal that ended it."""
        return await self._started.wait()

    async def stop(self, asked_by: signal.Signals = signal.SIGTERM) -> None:
        """End it and all it started: a signal, a bounded wait, SIGKILL. One that has ended gets no signal."""
        self._shut_gate()
        if not self.running:
            return
        self.signal(asked_by)
        try:
            await asyncio.wait_for(self.wait(), self.spec.stop_timeout_s)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await asyncio.wait_for(self.wait(), KILL_TIMEOUT_S)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole process group; a group that has ended is left alone."""
        if self.running:
            _signal_group(self.pid, number)

    def _shut_gate(self) -> None:
        if self._gate is not None:
            self._gate.close()
            self._gate = None

    def failure(self, what: str) -> Unavailable:
        """An error that says what happened and shows the end of the log."""
        name, log = self.spec.name, self.spec.log
        return Unavailable(f"{name} {what}; the end of {log}:\n{last_lines(log)}")


async def run_to_end(name: str, argv: tuple[str, ...], log: Path, timeout_s: float) -> None:
    """Run a command that ends by itself; `Unavailable` with the log's end unless it ends with 0 in time.

    Cancelled, it takes the command down with it.
    """
    process = await _spawn(argv, log, os.environ)
    try:
        code = await asyncio.wait_for(process.wait(), timeout_s)
    except TimeoutError:
        raise Unavailable(f"{name} took longer than {timeout_s:.0f} s; its output is in {log}") from None
    finally:
        if process.returncode is None:
            _signal_group(process.pid, signal.SIGKILL)
            await process.wait()
    if code != 0:
        raise Unavailable(f"{name} ended with {describe_exit(code)}; the end of {log}:\n{last_lines(log)}")


def describe_exit(code: int) -> str:
    """`exit code 1`, or the name of the signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"


def last_lines(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, indented, however large it is."""
    if not log.exists():
        return "  (there is none)"
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - TAIL_BYTES))
        text = stream.read().decode(errors="replace").rstrip()
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (it is empty)"


def trim_log(log: Path, limit_bytes: int = LOG_LIMIT_BYTES) -> None:
    """Keep a log within its limit: move what is there to `<log>.1` and go on with an empty file.

    The writer has it open for appending, so it goes on at the new end; a line written in between may be lost.
    """
    if log.exists() and log.stat().st_size > limit_bytes:
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)


async def _spawn(
    argv: tuple[str, ...], log: Path, env: Mapping[str, str], stdin: int = asyncio.subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    log.parent.mkdir(parents=True, exist_ok=True)
    trim_log(log)
    try:
        with log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *argv,
                stdin=stdin,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(env),
                start_new_session=True,
                preexec_fn=_die_with_parent if LIBC else None,
            )
    except OSError as error:
        raise Unavailable(f"cannot run {argv[0]}: {error.strerror}") from error


def _die_with_parent() -> None:
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return
