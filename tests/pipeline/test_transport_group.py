"""pipeline/transport.py: what the coordinator of a group answers, and what the driver makes of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    GroupLoadInProgressError,
    KafkaError,
    NoError,
    NotCoordinatorForGroupError,
    RebalanceInProgressError,
)
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest

from infra.clock import ManualClock
from pipeline.tenure import Tenure
from pipeline.transport import BatchConsumer, LoopConsumer, ask_coordinator
from schemas.errors import Fenced

SYNC, LATER = (SyncGroupRequest("g", generation, "m", "i", []) for generation in (1, 3))
BEAT = HeartbeatRequest("g", 1, "m")


async def answer(request: Any, code: int, tenure: Tenure) -> int:
    """What the driver sees of it."""

    async def send(_: Any) -> Any:
        return SimpleNamespace(error_code=code)

    return int((await ask_coordinator(send, tenure, request)).error_code)


@pytest.fixture
def tenure() -> Tenure:
    return Tenure(ManualClock(), 6.0)


async def test_a_coordinator_that_still_loads_is_away(tenure: Tenure) -> None:
    """To who asks for its partitions: aiokafka would give up its part in the group for good."""
    assert await answer(SYNC, GroupLoadInProgressError.errno, tenure) == NotCoordinatorForGroupError.errno
    for request in (BEAT, JoinGroupRequest):
        assert await answer(request, GroupLoadInProgressError.errno, tenure) == GroupLoadInProgressError.errno
    with pytest.raises(Fenced):
        tenure.term.check()


async def test_who_is_known_has_tenure(tenure: Tenure) -> None:
    assert await answer(SYNC, NoError.errno, tenure) == NoError.errno
    tenure.term.check()


async def test_who_was_out_of_the_group_begins_a_term(tenure: Tenure) -> None:
    """Not before he has a share again, and not by a heartbeat."""
    await answer(SYNC, NoError.errno, tenure)
    term = tenure.term
    await answer(BEAT, NoError.errno, tenure)
    await answer(LATER, RebalanceInProgressError.errno, tenure)
    assert tenure.term == term
    await answer(LATER, NoError.errno, tenure)
    assert tenure.term != term


def test_what_the_driver_gave_up_for_is_seen_though_nobody_reads() -> None:
    """It keeps the error for the next who asks for records."""
    consumer = LoopConsumer.__new__(LoopConsumer)
    consumer._consumer = None
    assert consumer.gave_up is None
    coordinator = SimpleNamespace(_pending_exception=None)
    consumer._consumer = SimpleNamespace(_coordinator=coordinator)
    assert consumer.gave_up is None
    coordinator._pending_exception = error = KafkaError("unexpected")
    assert consumer.gave_up is error


async def test_an_app_joins_its_group_when_it_may_and_says_when_nothing_else_is_left() -> None:
    """A standby has done everything else by then."""
    joined: list[set[str]] = []

    async def subscribe(topics: set[str]) -> None:
        joined.append(topics)

    consumer: Any = object.__new__(BatchConsumer)
    consumer.transport = SimpleNamespace(loaded=asyncio.Event(), may_join=asyncio.Event())
    consumer._thread = SimpleNamespace(subscribe=subscribe)
    joining = asyncio.create_task(consumer.subscribe({"im.inbound"}))
    await consumer.transport.loaded.wait()
    assert not joined
    consumer.transport.may_join.set()
    await joining
    await consumer.subscribe({"im.inbound", "im.accepted"})
    assert joined == [{"im.inbound"}, {"im.inbound", "im.accepted"}]
