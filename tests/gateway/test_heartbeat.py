"""How often a client must be heard."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.heartbeat import LEAST_S, MOST_S, SPREAD, agree
from tests.gateway.world import World

NAMES = [f"session-{number}" for number in range(10_000)]


@given(st.integers(1, 120), st.none() | st.integers(0, 10**6), st.integers(0, 10**6), st.text())
def test_it_is_within_bounds_whatever_is_asked(
    usual_s: int, asked_s: int | None, sessions: int, name: str
) -> None:
    """Never longer than what was agreed on, and a fifth shorter at most."""
    agreed_s = agree(usual_s, asked_s, sessions, name)
    longest_s = MOST_S if asked_s is not None or sessions > 1_000 else usual_s
    assert 1 <= agreed_s <= longest_s
    if asked_s is not None and LEAST_S <= asked_s <= MOST_S and sessions <= 1_000:
        assert agreed_s >= round(asked_s * (1 - SPREAD))


def test_clients_that_came_at_once_ping_apart() -> None:
    """Five rounds after ten thousand came in the same second their pings take half a minute."""
    pings = Counter(5 * agree(30, None, 0, name) for name in NAMES)
    assert max(pings) - min(pings) == 30
    assert max(pings.values()) < len(NAMES) / 5


def test_a_full_gateway_asks_less_often() -> None:
    """A hundred thousand sessions ping a thousand times a second, not three thousand times."""
    usual = sum(1 / agree(30, None, 0, name) for name in NAMES)
    crowded = sum(1 / agree(30, None, 100_000, name) for name in NAMES)
    assert crowded * 10 < 1_250 < usual * 10


@pytest.mark.parametrize(("asked", "least", "most"), [("60", 48, 60), ("1", 4, 5), ("9999", 240, 300)])
async def test_a_client_may_ask_for_another(world: World, asked: str, least: int, most: int) -> None:
    """Within bounds; the welcome says what holds, and a client that goes on with its session asks anew."""
    alice = await world.enter("alice", f"heartbeat_s={asked}&device_id=phone")
    assert least <= alice.welcome["heartbeat_s"] <= most
    session_id = alice.welcome["session_id"]
    again = await world.enter("alice", f"device_id=phone&session_id={session_id}")
    assert again.welcome["resumed"] is True
    assert 24 <= again.welcome["heartbeat_s"] <= 30
