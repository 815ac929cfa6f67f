"""What a replay feeds: the stages' own rules, without their side effects (P7)."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from infra.ports import RouteTable
from pipeline.batch import Batch, Stage
from pipeline.fanout.agent import Fanout
from pipeline.fanout.plan import FanoutPlan, index_entries
from pipeline.ops.replay.plan import Plan
from pipeline.persistence.agent import Persistence
from pipeline.topology import Doors
from schemas.codec import MESSAGE
from schemas.errors import BadInput, Unavailable, Undecodable

__all__ = ["Export", "IndexOnly", "stage_of"]

_QUICK: Final = 1
"""The level of gzip that costs least: a third of the bytes of what level 6 takes three times as long for."""


def stage_of(plan: Plan, doors: Doors, file_bytes: dict[int, int]) -> Stage[Any]:
    """The stage a plan feeds; `file_bytes` is how far an export has come, and is moved on by it."""
    if plan.stage == "persist":
        return Persistence(doors.history)
    if plan.stage == "index":
        return IndexOnly(doors)
    return Export(Path(plan.out), plan.topic, file_bytes)


class IndexOnly:
    """A `Stage`: fan-out up to where it would deliver. Inbox entries and heads rise, nothing is published.

    Large conversations have no inbox entries; the sets of their readers fill by themselves with the
    next message, so nothing that fan-out has taken away since is put back here.
    """

    name = "index"

    def __init__(self, doors: Doors) -> None:
        self._routes: RouteTable = doors.routes
        self._fanout = Fanout(doors.settings, doors.bus, doors.history, doors.routes)

    async def startup(self) -> None:
        """Nothing is shared between partitions."""

    async def assign(self, partition: int, position: int) -> None:
        await self._fanout.assign(partition, position)

    def revoke(self, partition: int) -> None:
        self._fanout.revoke(partition)

    async def load(self, batch: Batch) -> None:
        await self._fanout.load(batch)

    def plan(self, batch: Batch) -> list[FanoutPlan]:
        return self._fanout.plan(batch)

    async def perform(self, effects: list[FanoutPlan]) -> None:
        await self._routes.index(*index_entries(effects))


class Export:
    """A `Stage`: messages as JSON lines, one gzip file a partition, each batch a member of its own.

    What a killed run wrote beyond its last counted batch is cut off before the next batch is written.
    """

    name = "export"

    def __init__(self, folder: Path, topic: str, file_bytes: dict[int, int]) -> None:
        self._folder = folder
        self._topic = topic
        self._file_bytes = file_bytes

    async def startup(self) -> None:
        """Make the folder. Raises `BadInput` if that cannot be."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"cannot write to {self._folder}: {error.strerror}") from error

    async def assign(self, partition: int, position: int) -> None:
        """Nothing is remembered from batch to batch."""

    def revoke(self, partition: int) -> None:
        """Nothing to forget."""

    async def load(self, batch: Batch) -> None:
        """Everything is in the records."""

    def plan(self, batch: Batch) -> Sequence[tuple[int, bytes]]:
        lines = []
        for record in batch.records:
            try:
                message = MESSAGE.decode(record.value)
            except Undecodable as error:
                batch.bury(record, error)
                continue
            fields = msgspec.structs.asdict(message)
            fields["content"] = msgspec.Raw(message.content.encode())
            lines.append((batch.partition, msgspec.json.encode(fields)))
        return lines

    async def perform(self, effects: Sequence[tuple[int, bytes]]) -> None:
        if not effects:
            return
        partition = effects[0][0]
        packed = gzip.compress(b"\n".join([line for _, line in effects]) + b"\n", _QUICK, mtime=0)
        at = self._file_bytes.get(partition, 0)
        path = self._folder / f"{self._topic}-{partition}.ndjson.gz"
        try:
            with path.open("r+b" if path.exists() else "w+b") as file:
                file.truncate(at)
                file.seek(at)
                file.write(packed)
        except OSError as error:
            raise Unavailable(f"cannot write {path}: {error.strerror}") from error
        self._file_bytes[partition] = at + len(packed)
