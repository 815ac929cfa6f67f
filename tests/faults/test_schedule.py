"""schedule.py and catalogue.py"""

from __future__ import annotations

from itertools import islice

import pytest

from schemas.errors import BadInput
from tests.faults.nemesis.catalogue import FAULTS, chosen
from tests.faults.schedule import turns


def test_the_same_seed_makes_the_same_schedule() -> None:
    """Kinds, waits and what each fault will choose; another seed makes another one."""
    kinds = list(FAULTS)
    first, again, other = (list(islice(turns(kinds, seed), 60)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_every_kind_comes_once_a_round() -> None:
    """No kind waits longer than the others for its turn."""
    kinds = ["a", "b", "c", "d"]
    schedule = [turn.kind for turn in islice(turns(kinds, 1), 40)]
    for start in range(0, 40, 4):
        assert sorted(schedule[start : start + 4]) == kinds


def test_calm_lasts_as_long_as_asked() -> None:
    """A long run wants fewer faults a minute, of each kind as many; the order stays the seed's."""
    kinds = ["a", "b", "c", "d"]
    usual, longer = (list(islice(turns(kinds, 1, calm_s), 400)) for calm_s in (6.0, 24.0))
    assert [turn.kind for turn in longer] == [turn.kind for turn in usual]
    assert all(4.0 <= turn.wait_s <= 24.0 for turn in longer)
    assert max(turn.wait_s for turn in longer) > 6.0 >= max(turn.wait_s for turn in usual)


def test_there_are_enough_kinds_and_they_are_known_by_name() -> None:
    """None named means all; a slip is told, with the names there are."""
    assert len(FAULTS) >= 15
    assert chosen([]) == list(FAULTS)
    assert chosen(["poison", "kill-worker", "poison"]) == ["poison", "kill-worker"]
    with pytest.raises(BadInput, match="kill-worker"):
        chosen(["kill-wroker"])
