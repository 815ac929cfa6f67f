"""The register of planted bugs. Each is the toy path with one step done as a real mistake would do it, once
it is due; everything that follows from the mistake follows by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tests.faults.specimen.device import Device
from tests.faults.specimen.path import Connection, Path, Placed

__all__ = ["BUGS", "Broken", "Bug", "plant"]


class Broken(Path):
    """A path with a bug. `due(when)` is true once: the `due_at`-th time that `when` holds."""

    due_at = 6
    asked = 0
    planted = False

    def due(self, when: bool = True) -> bool:
        self.asked += when
        self.planted |= self.asked >= self.due_at
        return when and self.asked == self.due_at

    @staticmethod
    def is_text(placed: Placed) -> bool:
        return placed.ask.kind == "text"

    @staticmethod
    def is_raw(device: Connection) -> bool:
        return isinstance(device, Device) and device.online and not device.sdk


@dataclass(frozen=True, slots=True)
class Bug:
    """What is wrong, and what the checker must say of it."""

    name: str
    path: type[Broken]
    invariant: str
    anomaly: str


BUGS: list[Bug] = []
P = TypeVar("P", bound=type[Broken])


def plant(name: str, invariant: str, anomaly: str) -> Callable[[P], P]:
    """Register a path under the bug it has."""

    def add(path: P) -> P:
        BUGS.append(Bug(name, path, invariant, anomaly))
        return path

    return add
