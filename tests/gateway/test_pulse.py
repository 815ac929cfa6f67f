"""Answers to ping."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.downlink import Downlink
from gateway.hub import Hub
from gateway.metrics import Metrics
from gateway.missed import Missed
from gateway.pulse import Pulse
from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.history import MemoryHistory
from infra.memory.routes import MemoryRouteTable
from infra.ports import Head
from pipeline.persistence.rows import rows_of
from schemas.errors import Unavailable
from tests.builders import a_message
from tests.gateway.makers import a_session, opened, written
from tests.gateway.path import settle


class Table(MemoryRouteTable):
    """A route table that counts its calls, and can be away."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.calls: list[int] = []
        self.away = False

    async def pulse(self, users: Sequence[tuple[str, int]]) -> list[dict[str, int]]:
        if self.away:
            raise Unavailable("away")
        self.calls.append(len(users))
        return await super().pulse(users)


def a_pulse(table: Table, history: MemoryHistory | None = None) -> Pulse:
    clock = ManualClock()
    bus = MemoryBus(1, clock)
    hub, metrics = Hub(Metrics()), Metrics()
    downlink = Downlink(bus, "im.outbound.gw-1", hub, clock, metrics, lambda: None)
    return Pulse(table, downlink, clock, 1, Missed(history or MemoryHistory()), lambda: None)


async def test_pings_that_come_together_are_answered_from_one_call() -> None:
    """Each with its own id, its own heads and its own token."""
    table = Table()
    await table.index({"alice": {"d:alice:bob": 50}}, {"d:alice:bob": Head(7, 50)})
    pulse = a_pulse(table)
    alice, bob = (opened(a_session(user, user)) for user in ("alice", "carol"))
    alice.progress.synced(10)
    pulse.ping(alice, 1)
    pulse.ping(bob, "x")
    await settle(lambda: bool(bob.outbox))
    (first,), (second,) = written(alice), written(bob)
    assert (first["re"], first["heads"], first["token"]) == (1, {"d:alice:bob": 7}, "110")
    assert (second["re"], second["heads"], second["token"]) == ("x", {}, "")
    assert table.calls == [2]


async def test_without_the_table_a_pong_comes_all_the_same() -> None:
    """Without heads, and the token does not move."""
    table = Table()
    table.away = True
    pulse, alice = a_pulse(table), opened(a_session("alice"))
    alice.progress.synced(10)
    pulse.consumed_ms = 1_000
    pulse.ping(alice, None)
    await settle(lambda: bool(alice.outbox))
    (pong,) = written(alice)
    assert (pong["type"], pong["heads"], pong["token"]) == ("pong", {}, "110")
    assert alice.progress.announced_ms == 10


async def test_who_is_gone_gets_no_pong() -> None:
    """And the others still get theirs."""
    pulse = a_pulse(Table())
    gone, here = opened(a_session("alice", "s1")), opened(a_session("bob", "s2"))
    pulse.ping(gone, None)
    pulse.ping(here, None)
    gone.cut(0.0, by_client=False)
    await settle(lambda: bool(here.outbox))
    await asyncio.sleep(0)
    assert not gone.outbox


async def test_what_a_lost_table_knew_is_read_from_the_history() -> None:
    """Until everything said before the loss is stored, the token stays; then it follows one pong behind."""
    table, history = Table(), MemoryHistory()
    message = a_message(conversation_id="d:alice:bob", sent_at_ms=40)
    await history.write(rows_of(message))
    pulse = a_pulse(table, history)
    alice = opened(a_session("alice", "s1"))
    alice.progress.synced(10)
    alice.progress.lost_at_ms = 50
    answers = []
    for consumed_ms in (45, 60, 70):
        pulse.consumed_ms = consumed_ms
        pulse.ping(alice, consumed_ms)
        await settle(lambda: bool(alice.outbox))
        answers += written(alice)
    heads = {"d:alice:bob": message.seq}
    assert [(a["heads"], a["token"]) for a in answers] == [(heads, "110"), (heads, "110"), ({}, "160")]
