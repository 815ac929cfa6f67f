"""What a replay will do, decided before it begins and kept in a file: fixed offsets, fixed filters. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from infra.ports import Record
from schemas.errors import BadInput

__all__ = ["Counts", "Plan", "Range", "ReplayStage", "load_plan", "save"]

ReplayStage = Literal["persist", "index", "export"]


class Range(msgspec.Struct, frozen=True):
    """Offsets [start, end) of one partition."""

    partition: int
    start: int
    end: int


class Counts(msgspec.Struct, frozen=True):
    """The blast radius, measured by a scan when the plan was made."""

    records: int = 0
    """In the ranges."""
    selected: int = 0
    """Of those, the ones the filters mean."""
    selected_bytes: int = 0
    conversations: int = 0
    sampled: int = 0
    """How many of the selected were looked at one by one; the figures below are theirs."""
    undecodable: int = 0
    rows: int = 0
    """Rows these make in the history."""
    repeats: int = 0
    """What is there already, so that replaying it changes nothing."""


class Plan(msgspec.Struct, frozen=True):
    """A replay of im.messages into one stage. Offsets, not times: it always means the same."""

    plan_id: str
    created_ms: int
    created_by: str
    stage: ReplayStage
    topic: str
    partitions: int
    """Of the topic, when the plan was made."""
    schema_id: int
    ranges: list[Range]
    conversations: list[str]
    """Only these; empty: all."""
    rate: int
    """Records a second at most; 0: no limit."""
    keyspace: str
    out: str
    """The folder of an export."""
    counts: Counts

    def selection(self) -> Callable[[Sequence[Record]], Sequence[Record]]:
        """The rule that keeps the records the filters mean. The key of a Message is its conversation."""
        if not self.conversations:
            return lambda records: records
        keys = {conversation_id.encode() for conversation_id in self.conversations}
        return lambda records: [record for record in records if record.key in keys]

    def refusal(
        self, beginnings: Mapping[int, int], ends: Mapping[int, int], schema_id: int, next_: Mapping[int, int]
    ) -> str:
        """Why the plan does not hold any more; empty if it does. `next_`: where it will go on."""
        if len(ends) != self.partitions:
            return f"{self.topic} has {len(ends)} partitions now, {self.partitions} when the plan was made"
        if schema_id != self.schema_id:
            return f"messages have schema {schema_id} now, {self.schema_id} when the plan was made"
        for range_ in self.ranges:
            place, start = range_.partition, next_.get(range_.partition, range_.start)
            if start < range_.end and beginnings[place] > start:
                return f"{self.topic}[{place}] begins at {beginnings[place]} now: {start} is gone"
            if ends[place] < range_.end:
                return f"{self.topic}[{place}] ends at {ends[place]}: it is not the topic of the plan"
        return ""


def save(path: Path, value: msgspec.Struct) -> None:
    """Write a file whole or not at all: whoever reads it finds the old or the new one."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(value)))
    fresh.replace(path)


def load_plan(path: Path) -> Plan:
    """Raises `BadInput` if there is none, or it is no plan."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Plan)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise BadInput(f"{path} is no replay plan: {error}") from error
