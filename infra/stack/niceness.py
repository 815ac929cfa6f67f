"""How much a child takes of the processor while others want it.

Each child leads a session of its own, and Linux shares the processor among sessions first (autogroup, see
sched(7)); within one a process's own nice value counts, and so between children it does not.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["BACKGROUND", "FOREGROUND", "set_niceness"]

FOREGROUND: Final = 0
BACKGROUND: Final = 15
"""About a thirtieth of what the others get of a processor that all want; all of one that nobody wants."""
_TRIES: Final = 10
_PAUSE_S: Final = 0.1
"""The kernel lets who is not privileged change this once in so long, over all sessions."""


async def set_niceness(pid: int, niceness: int) -> None:
    """Have the session that this process leads give way to others, or no longer.

    Without effect where the kernel does not share by session, and for a process that has ended.
    """
    for _ in range(_TRIES):
        try:
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                Path(f"/proc/{pid}/autogroup").write_text(str(niceness))
        except BlockingIOError:
            await asyncio.sleep(_PAUSE_S)
        else:
            return
