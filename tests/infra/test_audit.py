"""An operator's action is in the log before it happens, and so is its end."""

from __future__ import annotations

import msgspec
import pytest

from infra.audit import audited
from infra.clock import SystemClock
from infra.memory.bus import MemoryBus
from schemas.codec import AUDIT
from schemas.errors import Unavailable
from schemas.records import Audit
from schemas.topics import AUDIT as AUDIT_TOPIC


async def audits(bus: MemoryBus) -> list[Audit]:
    found: list[Audit] = []
    await bus.read_range(
        AUDIT_TOPIC, 0, 0, None, lambda records: found.extend(AUDIT.decode(r.value) for r in records)
    )
    return found


async def test_an_action_is_said_before_and_after() -> None:
    """The first record is there when the block begins; the second brings what the block found."""
    bus = MemoryBus(2, SystemClock())
    async with audited(bus, SystemClock(), "ann", "dlq.skip", "im.dlq", {"error": "poison"}) as outcome:
        assert [a.state for a in await audits(bus)] == ["begun"]
        outcome["skipped"] = 3
    begun, done = await audits(bus)
    assert begun.action_id == done.action_id
    assert (done.actor, done.action, done.state) == ("ann", "dlq.skip", "done")
    assert msgspec.json.decode(done.details) == {"skipped": 3}


async def test_a_failure_is_said_and_goes_on() -> None:
    """Whoever reads the log sees why it ended."""
    bus = MemoryBus(2, SystemClock())
    with pytest.raises(Unavailable):
        async with audited(bus, SystemClock(), "ann", "user.kick", "bob", {}):
            raise Unavailable("redis is away")
    assert [a.state for a in await audits(bus)] == ["begun", "failed"]
    assert "redis is away" in (await audits(bus))[-1].details
