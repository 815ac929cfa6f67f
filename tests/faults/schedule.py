"""When which fault comes: a function of the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Final, NamedTuple

__all__ = ["Turn", "turns"]

CALM_S: Final = (1.0, 6.0)
"""Least and most time without a fault between two of them."""


class Turn(NamedTuple):
    kind: str
    wait_s: float
    seed: int
    """For what the fault itself chooses: target, strength, length."""


def turns(kinds: Sequence[str], seed: int) -> Iterator[Turn]:
    """Without end, in rounds: each kind once a round, in an order that differs from round to round."""
    random = Random(seed)
    while True:
        for kind in random.sample(list(kinds), len(kinds)):
            yield Turn(kind, random.uniform(*CALM_S), random.getrandbits(32))
