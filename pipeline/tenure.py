"""How long a worker may take its partitions for its own. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from infra.clock import Clock
from schemas.errors import Fenced

__all__ = ["Tenure", "Term"]


class Tenure:
    """What the coordinator of the group has granted to this process.

    The coordinator gives a member's partitions away when it has not heard of it for the session timeout.
    So each request that it answered well proves the tenure for that long, counted from the asking. A
    process that was stopped finds its proof out of date when it goes on, whatever records and answers
    wait in its sockets by then, until the coordinator has answered it anew.

    A proof says nothing of the time before it: a process that comes back to its group may find the partition
    that it had, which was somebody else's meanwhile. What it made before belongs to another term.
    """

    def __init__(self, clock: Clock, session_timeout_s: float) -> None:
        self.clock: Final = clock
        self._session_timeout_s = session_timeout_s
        self._until = -inf
        self._generation = -1
        self._terms = 0

    def prove(self, asked_at: float) -> None:
        """The coordinator has answered what it was asked at this time (monotonic seconds)."""
        self._until = max(self._until, asked_at + self._session_timeout_s)

    def join(self, generation: int) -> None:
        """The coordinator has divided the partitions, with this process among the members.

        `generation`: its count of such divisions. Unless this process was a member in the one before, each of
        its partitions may have been somebody else's: a new term begins.
        """
        if generation not in (self._generation, self._generation + 1):
            self._terms += 1
        self._generation = generation

    @property
    def term(self) -> Term:
        """The present one."""
        return Term(self, self._terms)

    def until(self, term: Term) -> float:
        """Up to when (monotonic seconds) the partitions are this process's for sure, and have been throughout
        this term; long ago if it is over."""
        return self._until if term == self.term else -inf


@dataclass(frozen=True, slots=True)
class Term:
    """A time in which what this process owned was nobody else's."""

    tenure: Tenure
    number: int

    @property
    def left_s(self) -> float:
        """For how long the partitions are this process's for sure; less than 0: they may be another's."""
        return self.tenure.until(self) - self.tenure.clock.monotonic()

    @property
    def lasts(self) -> bool:
        """Whether the partitions are still this process's for sure, and have been throughout."""
        return self.left_s >= 0

    def check(self) -> None:
        """Raises `Fenced` if the partitions may be somebody else's by now, or have been."""
        if not self.lasts:
            raise Fenced("out of the group for a while: another may own the partition, or has owned it")
