"""Python imports this at its start in every process of a run: wall clocks that `clocks.py` moves.

Not libfaketime: on a busy machine its `clock_nanosleep` answers EINVAL to a sleep whose end has passed, which
kills threads (the scheduler of Cassandra's driver) that nothing would have happened to otherwise. Clocks that
are read by C code (`datetime.now`, as in logs) and monotonic ones go on undisturbed.
"""

from __future__ import annotations

import os
import time
from typing import Final

FILE_VARIABLE: Final = "CHAOS_CLOCK_FILE"
LOOK_S: Final = 0.2


class _Clock:
    def __init__(self, path: str) -> None:
        self._path = path
        self._offset_s = 0
        self._looked_at = float("-inf")
        self._time, self._time_ns = time.time, time.time_ns

    def offset_s(self) -> int:
        """What the file says, looked at a few times a second at most."""
        now = time.monotonic()
        if now - self._looked_at > LOOK_S:
            self._looked_at = now
            with open(self._path) as file:  # noqa: PTH123 as little as possible is imported this early
                self._offset_s = int(file.read())
        return self._offset_s

    def time(self) -> float:
        return self._time() + self.offset_s()

    def time_ns(self) -> int:
        return self._time_ns() + self.offset_s() * 1_000_000_000


if path := os.environ.get(FILE_VARIABLE):
    clock = _Clock(path)
    time.time, time.time_ns = clock.time, clock.time_ns
