"""The process that waits to take over: loaded, its doors open, and told to begin when the first one dies.

Loading takes a worker about two seconds of processor time, more than all the rest of a restart.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Final

from infra.stack.process import ChildProcess, ChildSpec
from schemas.errors import Unavailable

__all__ = ["Standby"]

_SETTLE_S: Final = 2.0
"""What has just become ready has work to catch up with; who stands by can wait."""
_LONGEST_PAUSE_S: Final = 60.0


class Standby:
    """Keeps one process of a spec standing by, from now until `take` or `dismiss`.

    One that ends by itself (an engine was away) is replaced after a pause that doubles up to a minute.
    """

    def __init__(self, spec: ChildSpec) -> None:
        self._spec = spec
        self._child: ChildProcess | None = None
        self._keeper = asyncio.create_task(self._keep())

    async def take(self) -> ChildProcess | None:
        """The process, released; None if there is none just now. Nothing stands by after this."""
        await self._stop_keeping()
        child = self._child
        if child is None or not child.running:
            return None
        child.release()
        return child

    async def dismiss(self) -> None:
        """End it, at once: it has begun nothing."""
        await self._stop_keeping()
        if self._child is not None and self._child.running:
            self._child.signal(signal.SIGKILL)
            await self._child.wait()

    async def _stop_keeping(self) -> None:
        self._keeper.cancel()
        await asyncio.wait((self._keeper,))

    async def _keep(self) -> None:
        pause_s = _SETTLE_S
        while True:
            await asyncio.sleep(pause_s)
            child = ChildProcess(self._spec)
            try:
                await child.start_standby()
            except Unavailable:
                pass
            else:
                self._child = child
                await child.wait()
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
