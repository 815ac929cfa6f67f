"""What a network link does to the bytes that pass: a value, made by a fault and obeyed by the proxy."""

from __future__ import annotations

from random import Random
from typing import Final

import msgspec

__all__ = ["CALM", "Counts", "Order", "Weather"]

CHUNK_BYTES: Final = 65_536
DRIPS_PER_S: Final = 20


class Weather(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of one link. `up` is towards the server, `down` towards whoever called.

    Held bytes wait, as while TCP repeats what nobody acknowledges; they pass when the weather changes.
    """

    cut: bool = False
    """Open connections are reset, new ones too."""
    hold_up: bool = False
    hold_down: bool = False
    delay_s: float = 0.0
    """Every byte waits between this and, if more comes while it waits, twice as long."""
    jitter_s: float = 0.0
    bytes_per_s: int = 0
    """0: as fast as it goes."""

    def holds(self, up: bool) -> bool:
        return self.hold_up if up else self.hold_down

    @property
    def chunk_bytes(self) -> int:
        """How much may pass at once."""
        return max(1, self.bytes_per_s // DRIPS_PER_S) if self.bytes_per_s else CHUNK_BYTES

    def pause_s(self, random: Random) -> float:
        """How long the next chunk waits."""
        drip_s = 1 / DRIPS_PER_S if self.bytes_per_s else 0.0
        return drip_s + self.delay_s + (random.random() * self.jitter_s if self.jitter_s else 0.0)


CALM: Final = Weather()


class Counts(msgspec.Struct):
    """What happened on a link since it was opened: how a fault sees that it took hold."""

    opened: int = 0
    reset: int = 0
    held: int = 0
    """Chunks that had to wait for the weather to change."""
    slowed: int = 0
    """Chunks that were delayed."""
    passed_bytes: int = 0


class Order(msgspec.Struct):
    """Change the weather of a link, or (`None`) only ask for its counts."""

    link: str
    weather: Weather | None = None
