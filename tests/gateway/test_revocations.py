"""gateway/revocations.py"""

from __future__ import annotations

from gateway.auth import Principal
from gateway.hub import Hub
from gateway.metrics import Metrics
from gateway.revocations import Revocations
from gateway.session import State
from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.ports import Outgoing, Record
from schemas.codec import REVOCATION
from schemas.codes import CloseCode
from schemas.records import Revocation
from schemas.topics import REVOCATIONS
from tests.gateway.makers import a_session, opened

LIFE_S = 3_600


class Place:
    def __init__(self, bus: MemoryBus, clock: ManualClock) -> None:
        self.hub = Hub(Metrics())
        self.revocations = Revocations(bus, self.hub, clock, LIFE_S, lambda: None)

    def take(self, user_id: str, before_ms: int) -> None:
        value = REVOCATION.encode(Revocation(user_id, before_ms, "ops"))
        self.revocations.take([Record(REVOCATIONS, 0, 0, 0, user_id.encode(), value)])


async def test_what_is_in_force_is_known_after_a_start() -> None:
    """Whatever was revoked before, by whichever gateway; nonsense in the topic is passed over."""
    clock = ManualClock()
    bus = MemoryBus(1, clock)
    first = Place(bus, clock)
    await first.revocations.revoke("bob", "ops")
    await bus.publish([Outgoing(REVOCATIONS, 0, b"nonsense", b"x")])
    second = Place(bus, clock)
    await second.revocations.startup()
    assert second.revocations.before_ms == first.revocations.before_ms == {"bob": clock.now_ms()}
    await second.revocations.shutdown()


def test_a_session_with_an_older_token_is_kicked() -> None:
    """One whose token is younger stays, and so does everybody else."""
    clock = ManualClock()
    place = Place(MemoryBus(1, clock), clock)
    sessions = {}
    for name, issued_at_ms in (("old", 999), ("young", 1_000)):
        session = sessions[name] = opened(a_session("bob", name, touched=place.hub.touched))
        session.principal = Principal("bob", "", "", 2**50, issued_at_ms)
        place.hub.add(session)
    place.take("bob", 1_000)
    assert sessions["old"].closing is CloseCode.KICKED
    assert (sessions["young"].closing, sessions["young"].state) == (None, State.OPEN)


def test_the_latest_revocation_counts() -> None:
    """In whatever order they are read."""
    clock = ManualClock()
    place = Place(MemoryBus(1, clock), clock)
    for before_ms in (clock.now_ms() - 5, clock.now_ms(), clock.now_ms() - 9):
        place.take("bob", before_ms)
    assert place.revocations.before_ms == {"bob": clock.now_ms()}


def test_what_no_token_can_outlive_is_forgotten() -> None:
    """Memory holds the revocations of one token's life, not all there ever were."""
    clock = ManualClock()
    place = Place(MemoryBus(1, clock), clock)
    place.take("bob", clock.now_ms())
    clock.advance(LIFE_S - 1)
    place.take("ann", clock.now_ms())
    assert set(place.revocations.before_ms) == {"bob", "ann"}
    clock.advance(2)
    place.take("zoe", clock.now_ms())
    assert set(place.revocations.before_ms) == {"ann", "zoe"}
