"""The way down."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.downlink import Downlink
from gateway.hub import Hub
from gateway.metrics import Metrics
from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.ports import Outgoing, Record
from schemas.codec import OUTBOUND
from schemas.records import Outbound
from tests.builders import a_message, a_record, framed
from tests.gateway.makers import a_session, opened, written

TOPIC = "im.outbound.gw-1"


def a_downlink() -> tuple[Downlink, Hub, MemoryBus]:
    hub, clock, metrics = Hub(Metrics()), ManualClock(), Metrics()
    bus = MemoryBus(2, clock)
    return Downlink(bus, TOPIC, hub, clock, metrics, lambda: None), hub, bus


def record(seq: int, partition: int = 0) -> Record:
    message = a_message(seq=seq, session_id="elsewhere", conversation_id=f"g:{partition}")
    return a_record(OUTBOUND.encode(Outbound("message", framed(message), ["bob"], partition, seq)))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 8)), max_size=40), st.integers(1, 7))
def test_each_message_is_handed_out_once_whatever_is_repeated(
    steps: list[tuple[int, int]], poll: int
) -> None:
    """Fan-out may step back and write again: seqs still rise strictly in every conversation."""
    downlink, hub, _ = a_downlink()
    session = opened(a_session("bob", "b", touched=hub.touched))
    hub.add(session)
    records = [record(seq, partition) for partition, seq in steps]
    for start in range(0, len(records), poll):
        downlink.take(records[start : start + poll])
    got: dict[str, list[int]] = {}
    for frame in written(session):
        for message in frame["messages"]:
            got.setdefault(message["conversation_id"], []).append(message["seq"])
    for partition in (0, 1):
        highest: list[int] = []
        for where, seq in steps:
            if where == partition and seq > max(highest, default=0):
                highest.append(seq)
        assert got.get(f"g:{partition}", []) == highest


async def test_what_was_there_before_the_start_is_not_read() -> None:
    """And what comes after it is: the position is fixed when startup returns."""
    downlink, hub, bus = a_downlink()
    session = opened(a_session("bob", "b", touched=hub.touched))
    hub.add(session)
    value = record(1).value
    await bus.publish([Outgoing(TOPIC, 0, value)])
    await downlink.startup()
    assert await downlink.caught_up()
    await bus.publish([Outgoing(TOPIC, 0, record(2).value)])
    assert not await downlink.caught_up()
