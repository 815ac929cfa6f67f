"""The way up: `accepted` only for what the log has, 1303 only for what it has not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.metrics import Metrics
from gateway.uplink import Uplink
from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.ports import Outgoing
from schemas.codec import INBOUND
from schemas.codes import Code
from schemas.errors import BadInput, OutcomeUnknown, Refused, Unavailable
from schemas.topics import INBOUND as TOPIC
from tests.builders import an_inbound
from tests.gateway.makers import a_session, opened, written


class Outages(MemoryBus):
    """A log that fails as told: each publish takes the next error, None is success."""

    def __init__(self, *errors: Exception | None) -> None:
        super().__init__(1, ManualClock())
        self.errors = list(errors)
        self.gate: asyncio.Event | None = None

    async def publish(self, records: Sequence[Outgoing]) -> None:
        if self.gate is not None:
            await self.gate.wait()
        error = self.errors.pop(0) if self.errors else None
        if error is None or isinstance(error, OutcomeUnknown):
            await super().publish(records)
        if error is not None:
            raise error

    def logged(self) -> list[str]:
        return [INBOUND.decode(r.value).client_msg_id for r in self.records(TOPIC)]


def an_uplink(bus: MemoryBus, clock: ManualClock | None = None) -> Uplink:
    return Uplink(bus, clock or ManualClock(), Metrics(), 10.0, lambda: None)


async def submit(uplink: Uplink, count: int) -> list[tuple[str, str]]:
    """Send this many; (type, client_msg_id) of the answers once everything is answered."""
    session = opened(a_session())
    for number in range(count):
        session.waiting.expect(f"m{number}", None, request=False)
        uplink.submit(session, an_inbound(client_msg_id=f"m{number}"))
    assert await uplink.flush(5.0)
    assert session.waiting.inflight == 0
    return [(f["type"], f["client_msg_id"]) for f in written(session)]


async def test_sends_of_a_turn_are_published_together_and_answered_in_order() -> None:
    """One publish for all, in the order they were submitted."""
    bus = Outages()
    answers = await submit(an_uplink(bus), 3)
    assert answers == [("accepted", "m0"), ("accepted", "m1"), ("accepted", "m2")]
    assert bus.logged() == ["m0", "m1", "m2"]


async def test_what_the_log_never_took_is_rejected() -> None:
    """With 1303, temporary; and it is not in the log."""
    bus = Outages(Unavailable("away"))
    assert await submit(an_uplink(bus), 2) == [("rejected", "m0"), ("rejected", "m1")]
    assert bus.logged() == []


async def test_an_unknown_outcome_is_repeated_with_the_same_ids() -> None:
    """Until it is known; also a later refusal proves nothing then. Nobody is told a lie."""
    bus = Outages(OutcomeUnknown("?"), Unavailable("away"), None)
    assert await submit(an_uplink(bus), 2) == [("accepted", "m0"), ("accepted", "m1")]
    assert bus.logged() == ["m0", "m1", "m0", "m1"]


async def test_records_the_log_refuses_are_rejected_and_the_next_go_on() -> None:
    """A defect of ours ends neither the lane nor the gateway."""
    bus = Outages(BadInput("too large"))
    uplink = an_uplink(bus)
    assert await submit(uplink, 1) == [("rejected", "m0")]
    assert await submit(uplink, 1) == [("accepted", "m0")]


async def test_a_lane_that_does_not_move_takes_no_more() -> None:
    """After publish_timeout_s a new send gets 1303 at once; what is under way is still answered."""
    bus, clock = Outages(), ManualClock()
    bus.gate = asyncio.Event()
    uplink, session = an_uplink(bus, clock), opened(a_session())
    session.waiting.expect("m0", None, request=False)
    clock.advance(1)
    uplink.submit(session, an_inbound(client_msg_id="m0"))
    await asyncio.sleep(0)
    clock.advance(11)
    with pytest.raises(Refused) as refused:
        uplink.submit(session, an_inbound(client_msg_id="m1"))
    assert refused.value.code is Code.UNAVAILABLE
    bus.gate.set()
    assert await uplink.flush(5.0)
    assert [f["type"] for f in written(session)] == ["accepted"]


async def test_a_record_that_is_too_large_is_refused_before_it_is_taken() -> None:
    """A refused batch would harm others."""
    with pytest.raises(Refused) as refused:
        an_uplink(Outages()).submit(opened(a_session()), an_inbound(text="x" * 1_100_000))
    assert refused.value.code is Code.FRAME_TOO_LARGE


async def test_flush_is_bounded() -> None:
    """A log that does not answer holds nobody for ever."""
    bus = Outages()
    bus.gate = asyncio.Event()
    uplink = an_uplink(bus)
    uplink.submit(opened(a_session()), an_inbound())
    await asyncio.sleep(0)
    assert not await uplink.flush(0.01)
    uplink.abandon()
    assert await uplink.flush(1.0)
