"""Three brokers, three replicas of everything, two of them in sync before anything is acknowledged."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from infra.cassandra import CassandraHistory
from infra.settings import Settings, load_settings
from infra.stack.addresses import with_free_ports
from infra.stack.engine import Engine
from infra.stack.local import LocalStack
from infra.stack.system import System
from schemas.topics import INBOUND
from tests.acceptance.patience import until
from tests.acceptance.stranger import Stranger
from tests.acceptance.test_end_to_end import direct, fresh
from tests.conftest import TEST_SECRET, Background, Running, in_background

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

PAIRS = 6
PAUSE_S = 0.05
AROUND_S = 4.0
"""So long everybody talks before a fault, and after it is over."""
START_S = 240.0
"""For brokers to start, three at once, on a machine that does other things too."""
BROKERS = ("kafka", "kafka-2", "kafka-3")


@pytest.fixture(scope="module")
def three(background: Background, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    given = {
        "data_dir": tmp_path_factory.mktemp("brokers"),
        "auth_secret": TEST_SECRET,
        "limits": "off",
        "warm_standby": "off",
        "kafka": "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3",
        "replication_factor": 3,
        "cassandra_replication_factor": 1,
        "min_insync_replicas": 2,
    }
    settings = with_free_ports(Settings.model_validate({**load_settings().model_dump(), **given}))
    for stack in in_background(background, LocalStack(settings, adapt=with_time)):
        for system in in_background(background, System(stack)):
            yield Running(background, system)


def with_time(engine: Engine) -> Engine:
    """Three JVMs of Kafka start at once."""
    return replace(engine, child=replace(engine.child, start_timeout_s=START_S))


class Talker:
    """Says one thing after the other to somebody, each once the last one is accepted; what is refused for now
    is said again under its id.

    `sent` is the message id of each seq, `waits` the time of each first answer in seconds.
    """

    def __init__(self, running: Running) -> None:
        self._running = running
        self.user = fresh("ann")
        self.talk = direct(self.user, fresh("bob"))
        self.sent: dict[int, str] = {}
        self.waits: list[float] = []
        self._ids = count(1)

    async def talk_until(self, enough: asyncio.Event) -> None:
        async with Stranger.on(self._running, self.user) as stranger:
            stranger.patience_s = START_S
            asked: list[int] = []
            while not enough.is_set():
                asked.append(await self._say(stranger, len(asked)))
                await asyncio.sleep(PAUSE_S)
            for number, request in enumerate(asked):
                while (frame := await stranger.ends(re=request))["type"] != "sent":
                    assert frame["temporary"], frame
                    request = await self._say(stranger, number)
                self.sent[frame["seq"]] = frame["message_id"]

    async def _say(self, stranger: Stranger, number: int) -> int:
        """Say it until it is accepted; the id of the request that was."""
        send = {"client_msg_id": f"m{number}", "conversation_id": self.talk, "kind": "text"}
        while True:
            began, request = time.monotonic(), next(self._ids)
            await stranger.say("send", id=request, content={"text": f"text {number}"}, **send)
            frame = await stranger.sees(re=request)
            self.waits.append(time.monotonic() - began)
            if frame["type"] in ("accepted", "sent"):
                stranger.put_back(frame)
                return request
            assert frame["temporary"], frame
            await asyncio.sleep(PAUSE_S)


async def test_leaders_die_and_nothing_acknowledged_is_lost(three: Running) -> None:
    """A leader dies, then two brokers at once, so that nobody may acknowledge until one is back: everything
    is sent in the end, and stands once, at the place that its sender was told."""
    talkers = [Talker(three) for _ in range(PAIRS)]
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for talker in talkers:
            group.create_task(talker.talk_until(enough))
        await asyncio.sleep(AROUND_S)
        leader = await leader_of_inbound(three.settings)
        first_s = await longest_wait_after(three, talkers, leader)
        others = [name for name in BROKERS if name != leader]
        second_s = await longest_wait_after(three, talkers, *others)
        enough.set()
    sys.stdout.write(f"\nlongest wait: {first_s:.2f} s for a leader, {second_s:.2f} s for two brokers\n")
    async with history_of(three.settings) as history:
        for talker in talkers:
            assert sorted(talker.sent) == list(range(1, len(talker.sent) + 1))
            await until(partial(stored, history, talker.talk), partial(holds_all, talker.sent))
            assert await stored(history, talker.talk) == talker.sent


async def stored(history: CassandraHistory, talk: str) -> dict[int, str]:
    rows = await history.page(talk, before_seq=None, limit=10_000)
    return {row.seq: row.message_id for row in rows}


def holds_all(sent: dict[int, str], rows: dict[int, str]) -> bool:
    return len(rows) >= len(sent)


async def longest_wait_after(three: Running, talkers: list[Talker], *brokers: str) -> float:
    """Kill them; the longest wait for a first answer until they are back and everybody has talked on."""
    before = [len(talker.waits) for talker in talkers]
    for name in brokers:
        await asyncio.to_thread(three.kill, name)
    for name in brokers:
        await asyncio.to_thread(three.wait_ready, name)
    await until_all_in_sync(three.settings)
    await asyncio.sleep(AROUND_S)
    return max(wait for talker, n in zip(talkers, before, strict=True) for wait in talker.waits[n:])


async def leader_of_inbound(settings: Settings) -> str:
    partition, *_ = await partitions_of_inbound(settings)
    return BROKERS[partition["leader"] - 1]


async def until_all_in_sync(settings: Settings) -> None:
    async with asyncio.timeout(120):
        while any(len(one["isr"]) < len(BROKERS) for one in await partitions_of_inbound(settings)):
            await asyncio.sleep(0.5)


async def partitions_of_inbound(settings: Settings) -> list[dict[str, Any]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        (topic,) = await admin.describe_topics([INBOUND])
        return list(topic["partitions"])
    finally:
        await admin.close()


@asynccontextmanager
async def history_of(settings: Settings) -> AsyncIterator[CassandraHistory]:
    history = CassandraHistory(settings)
    await history.startup()
    try:
        yield history
    finally:
        await history.shutdown()
