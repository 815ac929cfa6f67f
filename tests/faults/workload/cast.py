"""Who takes part, and in which conversations: a function of the seed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from schemas.ids import direct_conversation

__all__ = ["Cast", "Device", "Group", "new_cast"]

USERS: Final = 24
SDK_SHARE: Final = 0.4
SECOND_DEVICES: Final = 4
SMALL_GROUPS: Final = 5
LARGE_GROUPS: Final = 2
DIRECTS: Final = 24
SMALL_MEMBERS: Final = (3, 6)
LARGE_MEMBERS: Final = (12, 18)


@dataclass(frozen=True, slots=True)
class Device:
    user: str
    name: str
    sdk: bool

    @property
    def client(self) -> str:
        return f"{self.user}-{self.name}"


@dataclass(slots=True)
class Group:
    """A group as the workload believes it to be; the owner never leaves."""

    id: str
    owner: str
    inside: set[str]
    everybody: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cast:
    devices: tuple[Device, ...]
    directs: tuple[tuple[str, str], ...]
    groups: tuple[Group, ...]

    def conversations_of(self, user: str) -> list[str]:
        """Where this user may speak, as far as the workload knows."""
        directs = [direct_conversation(*pair) for pair in self.directs if user in pair]
        return directs + [group.id for group in self.groups if user in group.inside]


def new_cast(seed: int, crowd: int = 0) -> Cast:
    """The same seed makes the same cast. Crowds have nobody in common, and no conversation."""
    random = Random(f"{seed}/{crowd}") if crowd else Random(seed)
    of_crowd = f"c{crowd}-" if crowd else ""
    users = [f"{of_crowd}u{number:02d}" for number in range(USERS)]
    devices = [Device(user, "a", random.random() < SDK_SHARE) for user in users]
    devices += [Device(user, "b", False) for user in random.sample(users, SECOND_DEVICES)]
    pairs = {tuple(sorted(random.sample(users, 2))) for _ in range(DIRECTS)}
    sizes = [random.randint(*SMALL_MEMBERS) for _ in range(SMALL_GROUPS)]
    sizes += [random.randint(*LARGE_MEMBERS) for _ in range(LARGE_GROUPS)]
    groups = []
    for number, size in enumerate(sizes):
        owner, *others = random.sample(users, size)
        groups.append(Group(f"g:{of_crowd}team-{number}", owner, {owner, *others}, (owner, *others)))
    return Cast(tuple(devices), tuple((a, b) for a, b in sorted(pairs)), tuple(groups))
