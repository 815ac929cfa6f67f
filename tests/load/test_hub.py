"""What a frame to each of 1,000 sessions costs, and a message between two: printed, not asserted.

Run with `pytest tests/load -m load -s`.
"""

from __future__ import annotations

import sys
import time

import pytest

from gateway.hub import Hub
from gateway.metrics import Metrics
from gateway.session import Session
from schemas.records import Outbound
from tests.builders import a_message, framed
from tests.gateway.makers import a_session, opened

pytestmark = pytest.mark.load

MEMBERS = 1_000
ROUNDS = 100


def a_crowd(hub: Hub, count: int) -> list[Session]:
    sessions = [opened(a_session(f"u{i}", f"s{i}", touched=hub.touched)) for i in range(count)]
    for session in sessions:
        hub.add(session)
    return sessions


def take_all(hub: Hub, sessions: list[Session]) -> None:
    """What the connections and the clients would do: write, and acknowledge."""
    for session in hub.touched:
        session.outbox.take()
    hub.touched.clear()
    for session in sessions:
        session.acknowledge(session.window.last_n)


def outbounds(first: int, count: int, users: list[str]) -> list[Outbound]:
    return [
        Outbound(
            "message",
            framed(a_message(seq=seq, conversation_id="g:crowd", session_id="elsewhere")),
            users,
            0,
            seq,
        )
        for seq in range(first, first + count)
    ]


@pytest.mark.parametrize("shared", [1, 4, 16])
def test_one_group(shared: int) -> None:
    """Frames to 1,000 members, with 1, 4 and 16 messages in each."""
    hub = Hub(Metrics())
    sessions = a_crowd(hub, MEMBERS)
    users = [s.user_id for s in sessions]
    batches = [outbounds(1 + r * shared, shared, users) for r in range(ROUNDS)]
    spent_s = 0.0
    for batch in batches:
        began = time.process_time()
        hub.dispatch(batch, 0.0)
        spent_s += time.process_time() - began
        take_all(hub, sessions)
    frames = ROUNDS * MEMBERS
    sys.stdout.write(
        f"\n{shared} a frame: {spent_s / frames * 1e6:.2f} µs, {frames * shared / spent_s:,.0f} msg/s\n"
    )


def test_pairs() -> None:
    """One message for two users, each on this gateway: decode, `sent`, `deliver`."""
    hub = Hub(Metrics())
    sessions = a_crowd(hub, 400)
    batch = [
        Outbound(
            "message",
            framed(a_message(seq=1, conversation_id=f"d:u{i}:u{i + 1}", session_id=f"s{i}")),
            [f"u{i}", f"u{i + 1}"],
            0,
            i,
        )
        for i in range(0, 400, 2)
    ]
    spent_s = 0.0
    for _ in range(ROUNDS):
        began = time.process_time()
        hub.dispatch(batch, 0.0)
        spent_s += time.process_time() - began
        take_all(hub, sessions)
    sys.stdout.write(f"\npairs: {spent_s / (ROUNDS * len(batch)) * 1e6:.2f} µs a message\n")
