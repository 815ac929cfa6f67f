"""When which fault comes: a function of the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Final, NamedTuple

__all__ = ["CALM_S", "Turn", "turns"]

CALM_S: Final = 6.0
"""The most time without a fault between two of them; the least is a sixth of it."""


class Turn(NamedTuple):
    kind: str
    wait_s: float
    seed: int
    """For what the fault itself chooses: target, strength, length."""


def turns(kinds: Sequence[str], seed: int, calm_s: float = CALM_S) -> Iterator[Turn]:
    """Without end, in rounds: each kind once a round, in an order that differs from round to round."""
    random = Random(seed)
    while True:
        for kind in random.sample(list(kinds), len(kinds)):
            yield Turn(kind, random.uniform(calm_s / 6, calm_s), random.getrandbits(32))
