"""The stages of the path, in its order: the table of contents of the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from infra.clock import Clock
from infra.ports import Bus, HistoryStore, RouteTable
from infra.settings import Settings
from pipeline.batch import Stage
from schemas import topics
from schemas.errors import SettingsError

__all__ = ["STAGES", "Doors", "StageSpec", "group_of", "stages_named"]


@dataclass(frozen=True, slots=True)
class Doors:
    """Everything a stage may reach for."""

    settings: Settings
    clock: Clock
    bus: Bus
    routes: RouteTable
    history: HistoryStore


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One row. `upstream`: the stage whose progress bounds this one's while it has nothing to do."""

    name: str
    reads: str
    writes: tuple[str, ...]
    upstream: str | None
    build: Callable[[Doors], Stage[Any]]


def _moderation(doors: Doors) -> Stage[Any]:
    from pipeline.moderation.agent import Moderation

    return Moderation(doors.settings, doors.bus, doors.history, doors.clock)


def _sequencing(doors: Doors) -> Stage[Any]:
    from pipeline.sequencing.agent import Sequencing

    return Sequencing(doors.settings, doors.bus, doors.history, doors.clock)


def _fanout(doors: Doors) -> Stage[Any]:
    from pipeline.fanout.agent import Fanout

    return Fanout(doors.settings, doors.bus, doors.history, doors.routes)


def _persistence(doors: Doors) -> Stage[Any]:
    from pipeline.persistence.agent import Persistence

    return Persistence(doors.history)


def _receipts(doors: Doors) -> Stage[Any]:
    from pipeline.receipts.agent import Receipts

    return Receipts(doors.settings, doors.bus, doors.history, doors.routes, doors.clock)


STAGES: Final = (
    StageSpec(
        "moderation", topics.INBOUND, (topics.ACCEPTED, topics.MODERATION, "im.outbound.*"), None, _moderation
    ),
    StageSpec("sequencing", topics.ACCEPTED, (topics.MESSAGES, "im.outbound.*"), None, _sequencing),
    StageSpec("fanout", topics.MESSAGES, ("im.outbound.*", "Redis"), "sequencing", _fanout),
    StageSpec("persistence", topics.MESSAGES, ("Cassandra",), "sequencing", _persistence),
    StageSpec("receipts", topics.RECEIPTS, ("Cassandra", "im.outbound.*"), None, _receipts),
)


def group_of(stage: str) -> str:
    """The consumer group of a stage."""
    return f"im.{stage}"


def stages_named(names: list[str]) -> list[StageSpec]:
    """The rows for these names, all of them for none. Raises `SettingsError` for a name that is no stage."""
    known = {spec.name: spec for spec in STAGES}
    for name in names:
        if name not in known:
            raise SettingsError(f"there is no stage {name!r}; the stages are {', '.join(known)}")
    return [known[name] for name in names] or list(STAGES)
