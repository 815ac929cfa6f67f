"""traffic.py, raw.py, sdk.py: what users write down on a gateway over the memory twins."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from math import inf
from pathlib import Path
from random import Random

import pytest

from tests.faults import history
from tests.faults.folder import Folder
from tests.faults.workload import raw
from tests.faults.workload.cast import new_cast
from tests.faults.workload.journal import Journal
from tests.faults.workload.traffic import Traffic
from tests.gateway.world import a_world

SECONDS = 3.0
RATE = 100.0


@pytest.fixture
async def folder(tmp_path: Path) -> Folder:
    """The journals of a short run without faults."""
    folder = Folder(tmp_path)
    async with a_world(limits="off", heartbeat_s=5) as world:
        url = f"http://127.0.0.1:{world.gateway.port}"
        with folder.clients() as lines:
            async with Traffic(url, world.token, new_cast(1), lines, Random(1)) as traffic:
                await traffic.run(RATE, time.monotonic() + SECONDS)
                assert await traffic.quiet() == 0
                assert await traffic.settle() == []
    return folder


async def test_journals_hold_everything_that_users_did_and_saw(folder: Folder) -> None:
    """Every send has its end, every client settles, and nobody saw bytes of a message he was not shown."""
    events = list(folder.client_events())
    clients = {event.client for event in events if isinstance(event, history.Client)}
    assert {event.client for event in events if isinstance(event, history.Settled)} == clients
    sends = {(e.client, e.client_msg_id) for e in events if isinstance(e, history.Send)}
    ends = {
        (e.client, e.client_msg_id)
        for e in events
        if isinstance(e, history.Sent | history.Rejected) and (e.client, e.client_msg_id) in sends
    }
    assert len(sends) > SECONDS * RATE / 2
    assert sends == ends
    seen = {history.Deliver, history.Saw, history.Page, history.Pong, history.Acked}
    assert seen <= {type(event) for event in events}
    assert not [event for event in events if getattr(event, "strays", [])]


async def test_who_is_told_to_go_elsewhere_goes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `drain` nobody waits as after a cut connection, so that fewer messages wait for a sync."""
    monkeypatch.setattr(raw, "LONGEST_BACKOFF_S", inf)
    monkeypatch.setattr(raw, "RETRY_S", 1e6)
    folder = Folder(tmp_path)
    async with a_world(limits="off") as world:
        with folder.clients() as lines:
            url = f"http://127.0.0.1:{world.gateway.port}"
            client = raw.RawClient(url, world.token("ann"), "ann", "a", Journal(lines, "ann-a"), Random(1))
            await client.start()
            with suppress(TimeoutError):
                async with asyncio.timeout(10):
                    while not client.connected:
                        await asyncio.sleep(0.01)
                    await world.gateway.drain()
                    while connects(folder) < 2:
                        await asyncio.sleep(0.01)
            await client.close()
    assert connects(folder) == 2


def connects(folder: Folder) -> int:
    return sum(isinstance(event, history.Connect) for event in folder.client_events())
