"""How long a worker may take its partitions for its own. Pure."""

from __future__ import annotations

from math import inf
from typing import Final

from infra.clock import Clock
from schemas.errors import Fenced

__all__ = ["Tenure"]


class Tenure:
    """What the coordinator of the group has granted to this process.

    The coordinator gives a member's partitions away when it has not heard of it for the session timeout.
    So each request that it answered well proves the tenure for that long, counted from the asking. A
    process that was stopped finds its proof out of date when it goes on, whatever records and answers
    wait in its sockets by then, until the coordinator has answered it anew.
    """

    def __init__(self, clock: Clock, session_timeout_s: float) -> None:
        self.clock: Final = clock
        self._session_timeout_s = session_timeout_s
        self._until = -inf

    def prove(self, asked_at: float) -> None:
        """The coordinator has answered what it was asked at this time (monotonic seconds)."""
        self._until = max(self._until, asked_at + self._session_timeout_s)

    @property
    def holds(self) -> bool:
        """Whether the partitions are still this process's for sure."""
        return self.clock.monotonic() <= self._until

    def check(self) -> None:
        """Raises `Fenced` if the partitions may be somebody else's by now."""
        if not self.holds:
            raise Fenced("not heard of for longer than the session: another may own the partition")
