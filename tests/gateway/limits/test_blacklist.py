"""Suspensions: how long they last, what makes them longer, and how gateways agree on them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.blacklist import BY_OPERATOR, Blacklist, Held, extended
from infra.limits import MAX_SUSPENDED
from infra.ports import Suspension

EVE = "user:eve"


def a_blacklist() -> Blacklist:
    return Blacklist(for_s=300.0, longest_s=3_600.0)


@given(st.lists(st.floats(0, 400), max_size=100))
def test_attempts_make_it_longer_and_never_too_long(gaps: list[float]) -> None:
    """Five minutes from the latest attempt, an hour in all; never shorter than it was."""
    held, now = Held(0.0, 300.0, "sends"), 0.0
    for gap in gaps:
        now += gap
        longer = extended(held, now, 300.0, 3_600.0)
        assert held.until <= longer.until <= 3_600.0
        assert longer.until >= min(now + 300.0, 3_600.0)
        held = longer


def test_a_suspension_ends_by_itself() -> None:
    """Who does not try is free after five minutes."""
    blacklist = a_blacklist()
    assert blacklist.suspend(EVE, "sends", 0.0)
    assert not blacklist.suspend(EVE, "sends", 1.0)
    assert blacklist.left_ms(EVE, 299.0) == 1_001
    assert blacklist.left_ms(EVE, 300.0) == 0
    blacklist.forget_ended(300.0)
    assert len(blacklist) == 0


def test_an_attempt_counts_it_anew() -> None:
    """And others are told of it."""
    blacklist = a_blacklist()
    blacklist.suspend(EVE, "connects", 0.0)
    assert blacklist.take_news(0.0) == {EVE: (300_000, "connects")}
    assert blacklist.attempt(EVE, 100.0) == 300_001
    assert blacklist.take_news(100.0) == {EVE: (300_000, "connects")}
    assert blacklist.take_news(100.0) == {}
    assert blacklist.attempt("user:bob", 100.0) == 0


def test_a_flood_of_attempts_is_told_once_a_second() -> None:
    """Ten thousand attempts in a second are one piece of news."""
    blacklist = a_blacklist()
    blacklist.suspend(EVE, "sends", 0.0)
    blacklist.take_news(0.0)
    told = 0
    for step in range(10_000):
        blacklist.attempt(EVE, step / 5_000)
        told += bool(blacklist.take_news(step / 5_000))
    assert told <= 2


def test_what_an_operator_said_is_not_changed_by_attempts() -> None:
    """It ends when he said."""
    blacklist = a_blacklist()
    blacklist.learn({EVE: Suspension(0, 600_000, BY_OPERATOR)}, 0, 0.0)
    blacklist.attempt(EVE, 500.0)
    assert blacklist.left_ms(EVE, 600.0) == 0


def test_what_is_learnt_holds_by_the_clock_of_this_process() -> None:
    """The store's clock is another one."""
    blacklist = a_blacklist()
    new = blacklist.learn({EVE: Suspension(1_000_000, 1_060_000, "sends")}, 1_010_000, 7.0)
    assert new == [EVE]
    assert blacklist.left_ms(EVE, 7.0) == 50_001
    assert blacklist.learn({EVE: Suspension(1_000_000, 1_060_000, "sends")}, 1_011_000, 8.0) == []


def test_a_lift_frees_also_who_tries_meanwhile() -> None:
    """An attempt that nobody was told of does not bring it back."""
    blacklist = a_blacklist()
    blacklist.learn({EVE: Suspension(0, 300_000, "sends")}, 0, 0.0)
    blacklist.attempt(EVE, 100.0)
    blacklist.learn({}, 100_100, 100.1)
    assert blacklist.left_ms(EVE, 100.1) == 0
    assert blacklist.take_news(100.1) == {}


def test_what_began_here_is_not_lost_to_what_others_say() -> None:
    """It was not told yet."""
    blacklist = a_blacklist()
    blacklist.suspend(EVE, "sends", 0.0)
    blacklist.learn({}, 0, 0.1)
    assert blacklist.left_ms(EVE, 0.1) > 0
    assert EVE in blacklist.take_news(0.1)


def test_a_store_that_lost_everything_is_told_again() -> None:
    """All that is still in force."""
    blacklist = a_blacklist()
    blacklist.learn(
        {EVE: Suspension(0, 60_000, "sends"), "ip:1.2.3.4": Suspension(0, 1_000, "sends")}, 0, 0.0
    )
    blacklist.tell_again()
    assert blacklist.take_news(2.0) == {EVE: (58_000, "sends")}


def test_there_are_not_more_than_so_many() -> None:
    """A flood from everywhere does not fill the memory: what ends first goes first."""
    blacklist = a_blacklist()
    for number in range(MAX_SUSPENDED + 1):
        blacklist.suspend(f"ip:{number}", "connects", float(number) / 100)
    assert len(blacklist) == MAX_SUSPENDED
    assert blacklist.left_ms("ip:0", 101.0) == 0
