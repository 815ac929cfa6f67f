"""Ledger, verification and trace on the real engines: nothing is missing, and what is taken out is named."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from infra.settings import Settings
from infra.stack.environment import child_environment
from pipeline.ops.accounts.arrival import Said
from pipeline.ops.accounts.audit import Account
from pipeline.ops.accounts.deliveries import Deliveries
from pipeline.ops.accounts.findings import Finding
from pipeline.ops.accounts.ledger_view import newest_account
from pipeline.ops.accounts.verify import Verification, verify
from pipeline.ops.doors import open_doors
from pipeline.ops.traces.trace import Evidence, Trace, trace_of
from pipeline.ops.traces.trace_reader import gather
from pipeline.topology import Doors
from schemas.topics import ACCEPTED, MESSAGES, MODERATION
from tests.acceptance.people import Person
from tests.acceptance.stranger import Stranger
from tests.acceptance.test_end_to_end import direct, fresh

pytestmark = pytest.mark.acceptance

PATIENCE_S = 60.0


@pytest_asyncio.fixture
async def doors(system: Any) -> AsyncIterator[Doors]:
    async with open_doors(system.settings, "bus", "routes", "history") as opened:
        yield opened


async def verified(doors: Doors, conversation_id: str) -> Verification:
    """The verification of one conversation, once nothing of its partition is in flight."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            now_ms = doors.clock.now_ms()
            found = await verify(doors, now_ms - 600_000, now_ms, conversation_id)
            if found.in_flight == 0:
                return found
            await asyncio.sleep(0.2)


async def evidence_of(doors: Doors, frame: dict[str, Any]) -> Evidence:
    """What is known of a sent message, once it is stored."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await gather(doors, frame["message_id"])
            if found.row is not None:
                return found
            await asyncio.sleep(0.1)


def states(trace: Trace) -> dict[str, str]:
    return {arrival.user_id: arrival.state for arrival in trace.arrivals}


async def chat(system: Any, count: int) -> tuple[str, list[dict[str, Any]]]:
    """A fresh conversation with so many messages: its id, and the `sent` frames."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with Stranger.on(system, ann) as sender:
        return talk, [await sender.send(talk, f"text {n}") for n in range(count)]


async def cut(settings: Settings, place: dict[str, int], partition: int) -> None:
    """Drop the records before these offsets, as retention would."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        await admin.delete_records(
            {TopicPartition(t, partition): RecordsToDelete(before_offset=o) for t, o in place.items()}
        )
    finally:
        await admin.close()


async def test_what_was_said_is_accounted_for(system: Any, doors: Doors) -> None:
    """A chat with a repeated send has no finding; its repeat is known as one."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with Stranger.on(system, ann) as sender, Person(system, bob) as b:
        first = await sender.send(talk, "once", client_msg_id="once")
        again = await sender.send(talk, "once", client_msg_id="once")
        await sender.send(talk, "twice")
        await b.hears(talk, "twice")
    assert again["seq"] == first["seq"]
    found = await verified(doors, talk)
    assert found.findings == []
    assert found.results["repeat"] >= 1


async def test_a_row_that_was_dropped_is_named_by_verify_and_by_the_running_ledger(
    system: Any, doors: Doors
) -> None:
    """One of three rows is deleted: im verify names it, and a later look of the ledger would as well."""
    talk, sent = await chat(system, 3)
    assert (await verified(doors, talk)).findings == []
    history: Any = doors.history
    await history._session.run(
        f"DELETE FROM messages WHERE conversation_id = '{talk}' AND bucket = 0 AND seq = 2"
    )
    (finding,) = (await verified(doors, talk)).findings
    assert (finding.between, finding.what) == ("message-row", "missing")
    assert (finding.seq, finding.message_id) == (2, sent[1]["message_id"])
    trace = trace_of(await gather(doors, sent[1]["message_id"], talk))
    assert trace.is_finding


async def test_records_that_were_dropped_are_named(system: Any, doors: Doors) -> None:
    """A Message, then an Accepted with its Decision, are cut from the log: exactly these are named."""
    talk, sent = await chat(system, 3)
    assert (await verified(doors, talk)).findings == []
    found = await gather(doors, sent[0]["message_id"], talk)
    assert found.message is not None
    assert found.accepted is not None
    assert found.decision is not None
    partition = found.message.partition
    await cut(system.settings, {MESSAGES: found.message.offset + 1}, partition)
    assert [_name(f) for f in (await verified(doors, talk)).findings] == [
        ("accepted-message", sent[0]["message_id"])
    ]
    places = {ACCEPTED: found.accepted.offset + 1, MODERATION: found.decision.offset + 1}
    await cut(system.settings, places, partition)
    assert [_name(f) for f in (await verified(doors, talk)).findings] == [
        ("inbound-decision", sent[0]["message_id"])
    ]


def _name(finding: Finding) -> tuple[str, str]:
    return finding.between, finding.message_id


async def test_a_delivery_that_is_never_acked_is_named(system: Any, doors: Doors) -> None:
    """Two are connected, one never acks: after the grace exactly that one is overdue."""
    ann, bob, carol = fresh("ann"), fresh("bob"), fresh("carol")
    async with Stranger.on(system, bob) as mute, Person(system, carol) as c, Person(system, ann) as a:
        group = await a.client.create_group("tea", [bob, carol])
        seq = await a.say(group, "hello")
        await mute.hears(group, seq)
        await c.hears(group, "hello")
        async with asyncio.timeout(PATIENCE_S):
            while (head := await doors.history.head(group)) is None or head.seq < seq:
                await asyncio.sleep(0.05)  # heard first, stored then
        deliveries = Deliveries(doors.history, doors.routes, grace_ms=1_000)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                said = Said(seq, ann, head.at_ms)
                found, _ = await deliveries.check({group: said}, doors.clock.now_ms(), 10)
                now = {one.arrival.user_id: one.arrival.state for one in found}
                if now == {ann: "sender", bob: "overdue", carol: "delivered"}:
                    break
                await asyncio.sleep(0.2)


async def test_a_trace_tells_the_way_of_a_message(system: Any, doors: Doors) -> None:
    """Every hop with its place, and for each member why it did or did not arrive; within 2 s."""
    ann, bob = fresh("ann"), fresh("bob")
    talk = direct(ann, bob)
    async with Stranger.on(system, ann) as sender:
        waits = await sender.send(talk, "nobody is there")
        async with Person(system, bob) as b:
            frame = await sender.send(talk, "hello")
            await b.hears(talk, "hello")
            async with asyncio.timeout(PATIENCE_S):
                while states(trace_of(await evidence_of(doors, frame))).get(bob) != "delivered":
                    await asyncio.sleep(0.2)
        trace = trace_of(await gather(doors, frame["message_id"]))
    assert [hop.what for hop in trace.hops][:5] == ["accepted", "passed", "passed on", "sequenced", "stored"]
    assert any(hop.by == "fanout" for hop in trace.hops)
    assert trace.hops[-1].what == "acked"
    assert (trace.outcome, trace.seq, trace.is_finding) == ("sent", 2, False)
    earlier = trace_of(await evidence_of(doors, waits))
    assert states(earlier) == {ann: "sender", bob: "delivered"}


async def test_the_ledger_runs_beside_the_workers_and_reports(system: Any, doors: Doors) -> None:
    """`im run` starts it; its account moves on with what is said."""

    async def account() -> Account:
        async with asyncio.timeout(PATIENCE_S):
            while (newest := await newest_account(doors.routes)) is None:
                await asyncio.sleep(0.2)
            return newest

    before = await account()
    await chat(system, 5)
    async with asyncio.timeout(PATIENCE_S):
        while (await account()).results["sent"] < before.results["sent"] + 5:
            await asyncio.sleep(0.5)
    assert (await account()).until_ms >= before.until_ms


def test_the_commands_print_lines_for_programs(system: Any) -> None:
    """verify, trace and ledger show write JSON lines into a pipe, and exit as documented."""
    environment = child_environment(system.settings, os.environ)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "infra.cli", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    talk, (frame,) = asyncio.run(chat(system, 1))
    deadline = time.monotonic() + PATIENCE_S
    while (traced := run("trace", frame["message_id"], "--conversation", talk)).returncode:
        assert time.monotonic() < deadline, traced.stderr
    assert msgspec.json.decode(traced.stdout, type=Trace).outcome == "sent"
    checked = run("verify", "--window", "5m", "--conversation", talk)
    assert (checked.returncode, checked.stdout) == (0, "")
    assert "0 findings" in checked.stderr
    assert msgspec.json.decode(run("ledger", "show").stdout, type=Account).at_ms > 0
    assert run("trace", "no-id").returncode == 2
