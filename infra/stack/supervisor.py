"""Keeps named children running: starts them, restarts those that end, stops them all at the end."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

from infra.lifecycle import HAND_OVER
from infra.stack.process import ChildProcess, ChildSpec, describe_exit, last_lines, trim_log
from infra.stack.restarts import QUICK_EXIT_S, restart_delay_s
from infra.stack.standby import Standby
from schemas.errors import BadInput, Unavailable

__all__ = ["Supervisor"]

TRIM_INTERVAL_S: Final = 10.0


class Supervisor:
    """An async context that owns its children: none of them is left when it ends, however it ends.

    A child that ends unasked is started again with a growing delay; one that keeps ending quickly fails the
    supervisor, which `wait_failed` reports. Everything runs on the loop (and thread) that entered it.
    """

    def __init__(
        self, notify: Callable[[str], None], delay_s: Callable[[int, int], float | None] = restart_delay_s
    ) -> None:
        """`notify` is told of every crash and return, for a person to read."""
        self._notify = notify
        self._delay_s = delay_s
        self._kept: dict[str, _Kept] = {}
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._trimmer = asyncio.create_task(self._trim_logs())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._trimmer.cancel()
        if not self._failed.cancel():
            self._failed.exception()  # whoever wanted to know was told by `wait_failed`
        await asyncio.gather(*(kept.stop() for kept in self._kept.values()))

    def __contains__(self, name: str) -> bool:
        return name in self._kept

    @property
    def pids(self) -> Mapping[str, int]:
        """The process id of each child that runs now."""
        return {name: kept.child.pid for name, kept in self._kept.items() if kept.child.running}

    async def start(self, spec: ChildSpec) -> None:
        """Start a child, return when it is ready, and keep it running from then on.

        Raises `Unavailable` with the end of its log if it ends before it is ready: the first start is not
        tried again, since its cause is nearly always one that stays.
        """
        if spec.name in self._kept:
            raise BadInput(f"a child named {spec.name} is already kept")
        kept = self._kept[spec.name] = _Kept(spec)
        await kept.start()
        kept.watch = asyncio.create_task(self._watch(kept))

    async def restart(self, name: str) -> None:
        """Stop a child in its own time, start it anew, return when it is ready.

        The new process is loaded from what is installed now, before the old one is asked to go; the old one
        is told so.
        """
        kept = self._find(name)
        await kept.end(HAND_OVER if await kept.load() else signal.SIGTERM)
        await kept.start()
        kept.watch = asyncio.create_task(self._watch(kept))

    def kill(self, name: str) -> None:
        """End a child by SIGKILL, as a crash would; it is started again. See `wait_ready`."""
        kept = self._find(name)
        kept.ready.clear()
        kept.child.signal(signal.SIGKILL)

    async def wait_ready(self, name: str) -> None:
        """Return once the child is ready (again); raises as `wait_failed` does if one is given up."""
        ready = asyncio.create_task(self._find(name).ready.wait())
        try:
            await asyncio.wait((ready, self._failed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._failed.done():
            self._failed.result()

    async def wait_failed(self) -> None:
        """Wait until a child is given up; raises `Unavailable` that names it and shows the end of its log."""
        await asyncio.shield(self._failed)

    def _find(self, name: str) -> _Kept:
        try:
            return self._kept[name]
        except KeyError:
            raise BadInput(f"no child is named {name}; there are: {', '.join(self._kept)}") from None

    async def _watch(self, kept: _Kept) -> None:
        name, quick_exits, failed_starts = kept.spec.name, 0, 0
        while True:
            code = await kept.child.wait()
            if kept.was_ready:
                lived_s = time.monotonic() - kept.started_at
                quick_exits, failed_starts = quick_exits + 1 if lived_s < QUICK_EXIT_S else 0, 0
            else:
                failed_starts += 1
            kept.ready.clear()
            delay_s = self._delay_s(quick_exits, failed_starts)
            if delay_s is None:
                self._give_up(kept.child.failure(f"ended {quick_exits + failed_starts} times in a row"))
                return
            self._notify(
                f"{name} ended with {describe_exit(code)}, starting it again in {delay_s:.1f} s; "
                f"the end of {kept.spec.log}:\n{last_lines(kept.spec.log, 5)}"
            )
            await asyncio.sleep(delay_s)
            try:
                await kept.start()
            except Unavailable as error:
                self._notify(str(error))
                await kept.child.stop()
            else:
                self._notify(f"{name} is back")

    def _give_up(self, error: Unavailable) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    async def _trim_logs(self) -> None:
        while True:
            await asyncio.sleep(TRIM_INTERVAL_S)
            for kept in self._kept.values():
                trim_log(kept.spec.log)


class _Kept:
    """One child under supervision, through all its runs."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.child = ChildProcess(spec)
        self.ready = asyncio.Event()
        self.was_ready = False
        """In its present or last life."""
        self.started_at = 0.0
        self.watch: asyncio.Task[None] | None = None
        self._standby: Standby | None = None

    async def start(self) -> None:
        self.started_at, self.was_ready = time.monotonic(), False
        taken = await self._standby.take() if self._standby is not None else None
        if taken is None:
            self.child = ChildProcess(self.spec)
            await self.child.start()
        else:
            self.child = taken
        await self.child.wait_ready()
        self.was_ready = True
        self.ready.set()
        if self.spec.standby:
            self._standby = Standby(self.spec)

    async def load(self) -> bool:
        """Have a new standby, if the spec wants one: what stood by so far may be of an older version.

        Returns whether one stands by now.
        """
        if not self.spec.standby:
            return False
        await self._dismiss()
        self._standby = Standby(self.spec, settle_s=0.0)
        return await self._standby.wait_tried()

    async def end(self, asked_by: signal.Signals = signal.SIGTERM) -> None:
        """Stop the child that runs; who stands by goes on standing by."""
        self.ready.clear()
        if self.watch is not None:
            self.watch.cancel()
            await asyncio.wait((self.watch,))
            self.watch = None
        await self.child.stop(asked_by)

    async def stop(self) -> None:
        await self._dismiss()
        await self.end()

    async def _dismiss(self) -> None:
        if self._standby is not None:
            await self._standby.dismiss()
            self._standby = None
