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
from schemas.frames import JSON, Presence, Receipt
from schemas.records import EPHEMERAL_S, Outbound
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


def test_an_ephemeral_frame_that_waited_too_long_is_told_to_nobody() -> None:
    """It is counted; a word between gateways, which is for no user, is heard however late."""
    clock, metrics = ManualClock(), Metrics()
    hub = Hub(metrics)
    changed: list[str] = []
    hub.presence_changed = changed.append
    session = opened(a_session("bob", "b", touched=hub.touched))
    hub.add(session)
    downlink = Downlink(MemoryBus(1, clock), TOPIC, hub, clock, metrics, lambda: None)
    receipt = JSON.encode(Receipt(conversation_id="d:alice:bob", user_id="alice", read_seq=3))
    presence = JSON.encode(Presence(user_id="carol", online=True, platforms=["web"]))
    values = [
        OUTBOUND.encode(Outbound("frame", receipt, ["bob"], ephemeral=True)),
        OUTBOUND.encode(Outbound("frame", presence, ephemeral=True)),
    ]

    def told_after(wait_s: float) -> int:
        said_ms = clock.now_ms() - round(1000 * wait_s)
        downlink.take([a_record(value, timestamp_ms=said_ms) for value in values])
        return len(written(session))

    assert told_after(EPHEMERAL_S - 0.1) == 1
    assert told_after(EPHEMERAL_S + 0.1) == 0
    assert changed == ["carol", "carol"]
    assert metrics.stale_ephemeral._value.get() == 1
