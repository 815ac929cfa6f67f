"""What a stage is, and what it is fed: the three moves every stage makes over a batch of one partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from infra.ports import Record
from infra.telemetry.trace_context import Headers
from pipeline.tenure import Term
from schemas.errors import ImError

__all__ = ["Batch", "Buried", "Chunk", "Stage"]

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Chunk:
    """What comes of a partition at a time: neighbouring records, oldest first, none before `start`.

    Without records it says that the partition has come, and where it will go on.
    """

    partition: int
    start: int
    records: Sequence[Record]

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.records[-1].offset + 1 if self.records else self.start


@dataclass(frozen=True, slots=True)
class Buried:
    """A record that goes to im.dlq, and why."""

    record: Record
    error: ImError


@dataclass(slots=True)
class Batch:
    """Neighbouring records of one partition, oldest first: the unit of reading, of effects and of commits."""

    topic: str
    partition: int
    records: Sequence[Record]
    began_at: float
    """Monotonic seconds."""
    buried: list[Buried] = field(default_factory=list)
    repeats: int = 0
    """Set by `plan`: how many records had been handled before, and were passed over."""
    done_ms: int = 0
    """Set by `plan`, if it knows better than the records' own times: everything earlier is handled."""

    term: Term | None = None
    """Lasts while the partition is this worker's; None: nobody gives it away (replays)."""

    trace: Mapping[int, Headers] = field(default_factory=dict)
    """By offset: headers that go beside whatever is made of a record, so that its trace goes on."""

    def bury(self, record: Record, error: ImError) -> None:
        """This record cannot be handled, ever: to the dead letters with it, the others go on."""
        self.buried.append(Buried(record, error))


class Stage(Protocol[E]):
    """One stage of the path. `pipeline/stage.py` drives it, one batch at a time in each partition.

    `load` and `perform` may raise `Unavailable`: the loop backs off and calls the same one again with
    the same argument, so both must bear repetition. `plan` is called exactly once a batch, between
    them, touches nothing but memory, and must not raise: a record it cannot understand is buried.
    Offsets are committed only after `perform` has returned.
    """

    name: str

    async def startup(self) -> None:
        """Once per process, before any partition."""
        ...

    async def assign(self, partition: int, position: int) -> None:
        """This worker owns the partition now; the first record will be at `position` or later.
        Rebuilds whatever state the partition needs. May raise `Unavailable` (called again)."""
        ...

    def revoke(self, partition: int) -> None:
        """Somebody else owns the partition now: forget its state."""
        ...

    async def load(self, batch: Batch) -> None:
        """Read what `plan` will need and memory does not hold."""
        ...

    def plan(self, batch: Batch) -> E:
        """Decide everything: values in, effects out, state moved on."""
        ...

    async def perform(self, effects: E) -> None:
        """Make the effects durable."""
        ...
