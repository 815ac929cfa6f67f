"""What operators do, with the real commands on engines of their own, while people chat."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

import msgspec
import pytest

from infra.cassandra import digest_keyspace
from infra.clock import SystemClock
from infra.kafka import KafkaBus
from infra.ports import Outgoing
from infra.redis import RedisRouteTable
from infra.settings import Settings, load_settings
from infra.stack.addresses import free_ports, with_free_ports
from infra.stack.environment import child_environment
from infra.stack.local import LocalStack
from infra.stack.system import System
from pipeline.status import read_status
from schemas.codec import ACCEPTED, INBOUND
from schemas.ids import direct_conversation
from schemas.topics import ACCEPTED as ACCEPTED_TOPIC
from schemas.topics import RECEIPTS
from tests.acceptance.patience import PATIENCE_S, eventually, until
from tests.acceptance.people import Person
from tests.builders import an_inbound
from tests.conftest import TEST_SECRET, UNHURRIED, Background, Running, in_background

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

MAX_IN_A_ROW = 20


@pytest.fixture(scope="module")
def own(background: Background, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A system of its own: what its history holds came through its log, and nothing else."""
    given = {
        "data_dir": tmp_path_factory.mktemp("operators"),
        "auth_secret": TEST_SECRET,
        "limits": "off",
        "worker_port": free_ports(1)[0],
        "dlq_max_consecutive": MAX_IN_A_ROW,
        **UNHURRIED,
    }
    settings = with_free_ports(Settings.model_validate({**load_settings().model_dump(), **given}))
    for stack in in_background(background, LocalStack(settings)):
        for system in in_background(background, System(stack)):
            yield Running(background, system)


def fresh(name: str) -> str:
    return f"{name}-{uuid4().hex[:8]}"


class Im:
    """The command `im` in a folder of its own."""

    def __init__(self, system: Running, folder: Path) -> None:
        self._folder = folder
        self._env = child_environment(system.settings, os.environ)

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "infra.cli", *arguments,
            cwd=self._folder, env={**self._env, "PYTHONPATH": str(Path.cwd())},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def run(self, *arguments: str, code: int = 0) -> str:
        """What it prints; it must end with this code."""
        process = await self.start(*arguments)
        out, err = await process.communicate()
        assert process.returncode == code, f"{arguments}: {out.decode()}{err.decode()}"
        return out.decode()

    async def rows(self, *arguments: str) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in (await self.run(*arguments)).splitlines()]


@pytest.fixture
def im(own: Running, tmp_path: Path) -> Im:
    return Im(own, tmp_path)


async def publish(settings: Settings, *records: Outgoing) -> None:
    bus = KafkaBus(settings)
    await bus.startup()
    await bus.publish(records)
    await bus.shutdown()


async def partition_of(settings: Settings, conversation_id: str) -> int:
    return KafkaBus(settings).partition_for(conversation_id)


async def test_a_poisoned_record_is_seen_and_redriven_and_arrives(own: Running, im: Im) -> None:
    """Once: it takes its place after what was said since, and a second redrive finds nothing to do."""
    ann, bob = fresh("ann"), fresh("bob")
    talk, wrong = direct_conversation(ann, bob), f"d:{fresh('a')}:{fresh('b')}"
    inbound = an_inbound("from the dead", conversation_id=talk, sender=ann, client_msg_id=fresh("m"))
    value = ACCEPTED.splice({"source_offset": 0}, INBOUND.split(INBOUND.encode(inbound))[2])
    async with Person(own, ann) as a, Person(own, bob) as b:
        assert await a.say(talk, "before") == 1  # im.inbound has an offset 0 that is done
        poison = Outgoing(ACCEPTED_TOPIC, await partition_of(own.settings, talk), value, wrong.encode())
        await publish(own.settings, poison)
        assert await a.say(talk, "meanwhile") == 2

        (letter,) = await until(lambda: im.rows("dlq", "list", "--each", "--conversation", wrong), bool)
        assert (letter["state"], letter["error"]) == ("open", "Undecodable")
        (shown,) = await im.rows("dlq", "show", letter["id"])
        assert shown["payload"]["content"] == {"text": "from the dead"}
        assert "key" in shown["letter"]["message"]

        assert "--yes does it" in await im.run("dlq", "redrive", letter["id"])
        assert "redriven 1 " in await im.run("dlq", "redrive", letter["id"], "--yes")
        await b.hears(talk, "from the dead")
        assert "nothing was changed" in await im.run("dlq", "redrive", letter["id"], "--yes")
        assert b.texts(talk) == ["before", "meanwhile", "from the dead"]
        assert await im.rows("dlq", "list", "--conversation", wrong) == []


@pytest.mark.parametrize("stage", ["export", "persist"])
async def test_a_replay_killed_in_the_middle_is_resumed(
    own: Running, im: Im, tmp_path: Path, stage: str
) -> None:
    """Its counts are exact, an export holds each message once, and nobody is delivered anything again."""
    ann, bob = fresh("ann"), fresh("bob")
    talk, count = direct_conversation(ann, bob), 60
    async with Person(own, ann) as a, Person(own, bob) as b:
        for n in range(count):
            await a.say(talk, f"n {n}")
        await im.run(
            "replay", "plan", "--stage", stage, "--conversation", talk, "--rate", "8", "--out", "out"
        )
        (path,) = tmp_path.glob("replay-*.json")
        running = await im.start("replay", "apply", path.name)
        progress = path.with_suffix(".progress")
        await eventually(lambda: progress.exists() and _read(progress)["selected"] > 0, 60)
        os.kill(running.pid, signal.SIGKILL)
        await running.wait()
        assert 0 < _read(progress)["selected"] < count
        await im.run("replay", "apply", path.name, code=2)
        await im.run("replay", "resume", path.name)
        assert (_read(progress)["state"], _read(progress)["selected"]) == ("done", count)
        await a.say(talk, "after")
        await b.hears(talk, "after")
        assert b.seqs(talk) == list(range(1, count + 2))
    if stage == "export":
        (file,) = (tmp_path / "out").iterdir()
        lines = [msgspec.json.decode(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
        assert [line["seq"] for line in lines] == list(range(1, count + 1))


async def test_cassandra_and_redis_come_back_as_they_were(own: Running, im: Im) -> None:
    """From the topics alone: equal digests of every table, and the same inboxes and heads."""
    ann, bob, cy = (fresh(n) for n in ("ann", "bob", "cy"))
    talk = direct_conversation(ann, bob)
    async with Person(own, ann) as a, Person(own, bob) as b, Person(own, cy):
        group = await a.client.create_group("Tea", [bob, cy])
        for n in range(20):
            await a.say(talk, f"n {n}")
            await b.say(group, f"n {n}")
        await b.client.edit(group, 3, "edited")
        await a.client.recall(talk, 2)
        await b.client.read(talk, 7)
        await a.client.remove_members(group, [cy])
        await a.say(group, "last")
        await b.hears(group, "last")
    own.restart("gw-1")  # acks that gather in it are given to the log
    await _quiet(own.settings)

    keyspace = fresh("re").replace("-", "_")
    await im.run("rebuild", "cassandra", "--keyspace", keyspace)
    tables = {row["table"]: row for row in await im.rows("rebuild", "compare", keyspace)}
    assert [row["equal"] for row in tables.values()] == ["yes"] * 5
    assert tables["messages"][keyspace] >= 45
    assert tables["user_cursors"][keyspace] >= 2
    rebuilt = own.settings.model_copy(update={"keyspace": keyspace})
    assert await digest_keyspace(own.settings) == await digest_keyspace(rebuilt)
    Path(im._folder / f"rebuild-{keyspace}.json").unlink()
    await im.run("rebuild", "cassandra", "--keyspace", keyspace, code=2)

    before = await _index(own.settings, (ann, bob, cy), (talk, group))
    await _flush(own.settings)
    assert (await _index(own.settings, (ann, bob, cy), (talk, group)))["heads"] == {}
    await im.run("rebuild", "redis", "--yes")
    assert await _index(own.settings, (ann, bob, cy), (talk, group)) == before


async def test_a_stage_that_understands_nothing_stops_and_says_so(own: Running, im: Im) -> None:
    """Few records become dead letters, the probes and `im status` name it; nothing else stands still."""
    talk = direct_conversation(fresh("ann"), fresh("bob"))
    partition = await partition_of(own.settings, talk)
    before = len(await im.rows("dlq", "list", "--each", "--stage", "receipts"))
    junk = [Outgoing(RECEIPTS, partition, b"junk", talk.encode()) for _ in range(10 * MAX_IN_A_ROW)]
    await publish(own.settings, *junk)
    await asyncio.to_thread(_wait_for, lambda: _readyz(own.settings.worker_port + 1)["ready"] is False)
    report = _readyz(own.settings.worker_port + 1)["stages"]
    assert "records in a row failed" in report["receipts"]["reason"]
    assert report["persistence"]["ok"]
    await asyncio.to_thread(_wait_for, lambda: "receipts has stopped" in str(_readyz(own.settings.port)))
    assert "stopped" in await im.run("status", code=1)
    letters = await im.rows("dlq", "list", "--each", "--stage", "receipts")
    assert len(letters) - before <= MAX_IN_A_ROW


def _read(progress: Path) -> dict[str, Any]:
    read: dict[str, Any] = msgspec.json.decode(progress.read_bytes())
    return read


async def _quiet(settings: Settings) -> None:
    """Until every stage has handled everything."""
    async with asyncio.timeout(60):
        while any(row.state != "ok" or row.waiting for row in (await read_status(settings)).stages):
            await asyncio.sleep(0.2)


async def _index(
    settings: Settings, users: tuple[str, ...], conversations: tuple[str, ...]
) -> Mapping[str, object]:
    routes = RedisRouteTable(settings, SystemClock())
    try:
        return {
            "heads": await routes.heads(conversations),
            "inboxes": {user: (await routes.inbox(user, 0)).changed for user in users},
        }
    finally:
        await routes.shutdown()


async def _flush(settings: Settings) -> None:
    process = await asyncio.create_subprocess_exec(
        "redis-cli", "-u", settings.redis, "FLUSHALL", stdout=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0


def _readyz(port: int) -> dict[str, Any]:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE_S) as answer:
            body = answer.read()
    except HTTPError as refused:
        body = refused.read()
    report: dict[str, Any] = msgspec.json.decode(body)
    return report


def _wait_for(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
