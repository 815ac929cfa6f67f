"""The process that waits to take over: loaded, its doors open, and told to begin when the first one dies.

Loading takes a worker about two seconds of processor time, more than all the rest of a restart, and must not
take them from who works: it has what the others leave (`niceness.py`).
"""

from __future__ import annotations

import asyncio
import signal
from typing import Final

from infra.stack.niceness import BACKGROUND, FOREGROUND, set_niceness
from infra.stack.process import ChildProcess, ChildSpec
from schemas.errors import Unavailable

__all__ = ["Standby"]

_SETTLE_S: Final = 2.0
"""What has just become ready has work to catch up with; who stands by can wait."""
_LONGEST_PAUSE_S: Final = 60.0


class Standby:
    """Keeps one process of a spec standing by, from `settle_s` on until `take` or `dismiss`.

    One that ends by itself (an engine was away) is replaced after a pause that doubles up to a minute.
    """

    def __init__(self, spec: ChildSpec, settle_s: float = _SETTLE_S) -> None:
        self._spec = spec
        self._child: ChildProcess | None = None
        self._tried = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep(settle_s))

    async def wait_tried(self) -> bool:
        """Return once the first process stands by, or could not; whether one does."""
        await self._tried.wait()
        return self._child is not None and self._child.running

    async def take(self) -> ChildProcess | None:
        """The process, released, though it may still be loading; None if there is none just now. Nothing
        stands by after this."""
        await self._stop_keeping()
        child = self._child
        if child is not None and child.running:
            await set_niceness(child.pid, FOREGROUND)
            child.release()
            return child
        await self.dismiss()
        return None

    async def dismiss(self) -> None:
        """End it, at once: it has begun nothing."""
        await self._stop_keeping()
        if self._child is not None:
            await self._child.stop(signal.SIGKILL)

    async def _stop_keeping(self) -> None:
        self._keeper.cancel()
        await asyncio.wait((self._keeper,))

    async def _keep(self, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            child = ChildProcess(self._spec)
            try:
                await child.start_standby()
                self._child = child
                await set_niceness(child.pid, BACKGROUND)
                await child.wait_loaded()
                self._tried.set()
                await child.wait()
            except Unavailable:
                self._tried.set()
            await child.stop()
            pause_s = min(2 * max(pause_s, _SETTLE_S), _LONGEST_PAUSE_S)
