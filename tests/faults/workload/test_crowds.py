"""crowds.py and crowd.py: users in processes of their own."""

from __future__ import annotations

import time
from pathlib import Path

from tests.faults import history
from tests.faults.folder import Folder
from tests.faults.workload.crowds import Crowds
from tests.gateway.world import a_world

SECONDS = 2.0
RATE = 40.0


async def test_crowds_talk_side_by_side(tmp_path: Path) -> None:
    """Each leaves a log of its own, all sends have their end, and no user is in two crowds."""
    folder = Folder(tmp_path)
    async with a_world(limits="off", heartbeat_s=5) as world:
        url = f"http://127.0.0.1:{world.gateway.port}"
        async with Crowds(url, world.token, 1, 2, tmp_path, tmp_path / "data") as crowds:
            await crowds.run(RATE, time.monotonic() + SECONDS)
            assert await crowds.quiet() == 0
            assert await crowds.settle() == []
    assert crowds.counts["text"] > SECONDS * RATE / 3
    events = list(folder.client_events())
    users = [event.user for event in events if isinstance(event, history.Client)]
    assert len(set(users)) == 48
    sends = {(e.client, e.client_msg_id) for e in events if isinstance(e, history.Send)}
    ends = {(e.client, e.client_msg_id) for e in events if isinstance(e, history.Sent | history.Rejected)}
    assert sends
    assert sends <= ends
