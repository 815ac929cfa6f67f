"""Dealing a quota: what must hold for any demand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.shares import max_min, shares

amounts = st.floats(0, 1e6)
demands = st.dictionaries(st.sampled_from("abcdef"), st.lists(amounts, min_size=5, max_size=5), min_size=1)


def test_who_asks_for_little_gets_it_and_the_others_share() -> None:
    """The classic example of max-min fairness."""
    dealt = max_min(10.0, {"a": 2.0, "b": 2.6, "c": 4.0, "d": 5.0})
    assert dealt == pytest.approx({"a": 2.0, "b": 2.6, "c": 2.7, "d": 2.7})


@given(amounts, st.dictionaries(st.sampled_from("abcdef"), amounts, min_size=1))
def test_max_min_is_fair_and_wastes_nothing(amount: float, wanted: dict[str, float]) -> None:
    """Nobody gets more than he wants; who gets less than he wants gets as much as anybody."""
    dealt = max_min(amount, wanted)
    assert sum(dealt.values()) == pytest.approx(min(amount, sum(wanted.values())), abs=1e-6)
    most = max(dealt.values())
    for name, part in dealt.items():
        assert part <= wanted[name]
        assert part == wanted[name] or part == pytest.approx(most)


@given(amounts, demands)
def test_shares_add_up_to_the_quota(per_s: float, wanted: dict[str, list[float]]) -> None:
    """Whatever is asked: not more, and not less."""
    dealt = shares(per_s, wanted)
    assert set(dealt) == set(wanted)
    assert sum(dealt.values()) == pytest.approx(per_s, abs=1e-6)
    assert min(dealt.values()) >= 0


def test_a_higher_priority_goes_first_wherever_it_is() -> None:
    """The group messages of one gateway wait for the direct ones of all others."""
    wanted = {"a": (0.0, 30.0, 0.0), "b": (0.0, 50.0, 40.0), "c": (0.0, 0.0, 90.0)}
    assert shares(100.0, wanted) == pytest.approx({"a": 30.0, "b": 60.0, "c": 10.0})


def test_what_nobody_asks_for_is_dealt_evenly() -> None:
    """So that a gateway whose clients begin to send finds something."""
    assert shares(100.0, {"a": (20.0,), "b": (0.0,)}) == pytest.approx({"a": 60.0, "b": 40.0})


def test_without_a_gateway_there_are_no_shares() -> None:
    """Nobody spoke: nothing is dealt."""
    assert shares(100.0, {}) == {}
