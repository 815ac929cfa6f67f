"""pipeline/receipts/agent.py"""

from __future__ import annotations

from typing import Any

import pytest

from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.history import MemoryHistory
from infra.memory.routes import MemoryRouteTable
from infra.ports import Outgoing, Route
from infra.settings import Settings
from pipeline.batch import Batch
from pipeline.receipts.agent import Receipts
from pipeline.tenure import Tenure
from schemas.codec import OUTBOUND, RECEIPT
from schemas.frames import JSON
from schemas.frames import Receipt as ReceiptFrame
from schemas.records import EPHEMERAL_S, Outbound, Receipt
from schemas.tables import Cursor

SETTINGS = Settings(partitions=1)


class World:
    """The receipts stage of one partition, and two gateways."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bus = MemoryBus(1, self.clock)
        self.history = MemoryHistory()
        self.routes = MemoryRouteTable(self.clock)
        self.stage = self.a_worker()
        self.tenure = Tenure(self.clock, SETTINGS.session_timeout_s)
        self.tenure.prove(self.clock.monotonic())
        self._read = 0

    def a_worker(self) -> Receipts:
        return Receipts(SETTINGS, self.bus, self.history, self.routes, self.clock)

    async def take_over(self) -> None:
        """Another worker owns the partition from now on."""
        self.stage = self.a_worker()
        await self.stage.startup()
        await self.stage.assign(0, self._read)

    async def connect(self, user: str, gateway_id: str, device: str = "phone") -> None:
        await self.routes.take_lease(gateway_id, "boot", 60)
        await self.routes.attach([(user, Route(device, gateway_id, "boot", f"{user}-{device}", "web", 0))])

    async def say(self, *receipts: Receipt) -> None:
        keyed = [(RECEIPT.encode(r), r.conversation_id.encode()) for r in receipts]
        await self.bus.publish([Outgoing("im.receipts", 0, value, key) for value, key in keyed])

    async def run(self, pause_s: float = 0.0, *, back: bool = False) -> Batch:
        """Take what was said; `pause_s`: how long the worker then stands still; `back`: out of its group
        meanwhile, and back."""
        records = self.bus.records("im.receipts", 0, self._read)
        self._read += len(records)
        batch = Batch("im.receipts", 0, records, self.clock.monotonic(), term=self.tenure.term)
        await self.stage.load(batch)
        effects = self.stage.plan(batch)
        self.clock.advance(pause_s)
        if back:
            self.tenure.join(2)
            self.tenure.prove(self.clock.monotonic())
        await self.stage.perform(effects)
        return batch

    def outbounds(self, gateway_id: str) -> list[tuple[list[str], str, dict[str, Any]]]:
        """(users, not_session_id, frame) of everything sent to a gateway."""
        found = []
        for record in self.bus.records(f"im.outbound.{gateway_id}"):
            outbound: Outbound = OUTBOUND.decode(record.value)
            assert (outbound.kind, outbound.ephemeral, outbound.source_partition) == ("frame", True, -1)
            frame = JSON.parse_server(outbound.body)
            assert isinstance(frame, ReceiptFrame)
            cursors = {"delivered": frame.delivered_seq, "read": frame.read_seq, "of": frame.user_id}
            found.append((outbound.users, outbound.not_session_id, cursors))
        return found


@pytest.fixture
async def world() -> World:
    world = World()
    await world.stage.startup()
    await world.stage.assign(0, 0)
    return world


def a_receipt(user: str = "bob", delivered: int = -1, read: int = -1, **fields: Any) -> Receipt:
    values: dict[str, Any] = {
        "conversation_id": "d:alice:bob",
        "session_id": "bob-phone",
        "at_ms": 1,
    } | fields
    return Receipt(user_id=user, delivered_seq=delivered, read_seq=read, **values)


async def test_a_delivery_is_told_to_the_other_user(world: World) -> None:
    """On every gateway that has a connection of his, and to nobody else."""
    await world.connect("alice", "gw-1")
    await world.connect("alice", "gw-2", "laptop")
    await world.connect("bob", "gw-1")
    await world.say(a_receipt(delivered=4))
    await world.run()
    told = [(["alice"], "", {"delivered": 4, "read": None, "of": "bob"})]
    assert world.outbounds("gw-1") == world.outbounds("gw-2") == told
    assert await world.history.cursors("bob") == {"d:alice:bob": Cursor(0, 4)}


async def test_a_read_is_told_to_the_readers_own_devices_too(world: World) -> None:
    """To all but the connection it came from, and without what was delivered."""
    await world.connect("bob", "gw-2", "laptop")
    await world.say(a_receipt(delivered=4, read=3))
    await world.run()
    own = {"delivered": None, "read": 3, "of": "bob"}
    assert world.outbounds("gw-2") == [(["bob"], "bob-phone", own)]


async def test_a_batch_tells_each_cursor_once(world: World) -> None:
    """The highest; what lies below or was told already is silent, in this batch and the next."""
    await world.connect("alice", "gw-1")
    await world.say(a_receipt(delivered=4), a_receipt(delivered=9), a_receipt(delivered=7))
    await world.run()
    await world.say(a_receipt(delivered=9))
    await world.run()
    assert [frame["delivered"] for _, _, frame in world.outbounds("gw-1")] == [9]


async def test_a_stranger_moves_no_cursor(world: World) -> None:
    """Nothing is stored and nobody hears of it; the batch goes on."""
    await world.connect("alice", "gw-1")
    await world.say(a_receipt("sam", read=4), a_receipt("sam", read=4, conversation_id="g:none"))
    batch = await world.run()
    assert batch.buried == []
    assert await world.history.cursors("sam") == {}
    assert world.outbounds("gw-1") == []


@pytest.mark.parametrize(
    "fields",
    [
        {"conversation_id": "d:bob:alice"},
        {"user": "b b"},
        {"session_id": "s/1"},
        {"read": -2},
        {"delivered": 2**60},
    ],
)
async def test_what_no_gateway_writes_is_buried(world: World, fields: dict[str, Any]) -> None:
    """And the receipts beside it are handled."""
    await world.say(a_receipt(**fields), a_receipt(read=1))
    batch = await world.run()
    assert [buried.record.offset for buried in batch.buried] == [0]
    assert await world.history.cursors("bob") == {"d:alice:bob": Cursor(1, 0)}


async def test_bytes_that_are_no_receipt_are_buried(world: World) -> None:
    """Junk, and a record under a foreign key."""
    await world.bus.publish([Outgoing("im.receipts", 0, b"junk", b"d:alice:bob")])
    await world.bus.publish([Outgoing("im.receipts", 0, RECEIPT.encode(a_receipt(read=1)), b"g:tea")])
    assert len((await world.run()).buried) == 2


async def test_who_is_offline_is_told_nothing(world: World) -> None:
    """The cursor waits in the history for the next sync."""
    await world.say(a_receipt(read=5))
    await world.run()
    assert await world.history.cursors("bob") == {"d:alice:bob": Cursor(5, 0)}


@pytest.mark.parametrize(
    ("pause_s", "back"), [(SETTINGS.session_timeout_s + 1, False), (1.0, True)], ids=["out", "back"]
)
async def test_a_worker_that_slept_tells_nobody(world: World, pause_s: float, *, back: bool) -> None:
    """What it had begun is stored, which harms nobody; its frames could say less than another's did since."""
    await world.connect("alice", "gw-1")
    await world.say(a_receipt(delivered=4))
    await world.run(pause_s, back=back)
    assert world.outbounds("gw-1") == []
    assert await world.history.cursors("bob") == {"d:alice:bob": Cursor(0, 4)}
    world.tenure.prove(world.clock.monotonic())
    await world.say(a_receipt(delivered=5))
    await world.run()
    assert [told[2]["delivered"] for told in world.outbounds("gw-1")] == [5]


@pytest.mark.parametrize(
    ("unheard_s", "waited_s", "age_s"),
    [
        pytest.param(0.0, 0.0, 0.0, id="at once"),
        pytest.param(0.0, 2.0, 2.0, id="its members are as of then"),
        pytest.param(4.0, 0.5, 3.5, id="its tenure ends first"),
    ],
)
async def test_a_frame_is_too_old_when_it_may_be_untrue(
    world: World, unheard_s: float, waited_s: float, age_s: float
) -> None:
    """It may wait for the log for as long as that is away; gateways pass over what is older than 5 s."""
    await world.connect("alice", "gw-1")
    world.clock.advance(unheard_s)
    await world.say(a_receipt(delivered=4))
    await world.run(pause_s=waited_s)
    (record,) = world.bus.records("im.outbound.gw-1")
    assert record.timestamp_ms == world.clock.now_ms() - 1000 * age_s


async def test_what_waited_for_an_engine_too_long_is_told_to_nobody(world: World) -> None:
    """Though the partition stayed this worker's: who was to hear of it may have left meanwhile."""
    await world.connect("alice", "gw-1")
    await world.say(a_receipt(delivered=4))
    assert SETTINGS.session_timeout_s > EPHEMERAL_S + 0.1
    await world.run(pause_s=EPHEMERAL_S + 0.1)
    assert world.outbounds("gw-1") == []
    assert await world.history.cursors("bob") == {"d:alice:bob": Cursor(0, 4)}


async def test_who_takes_over_tells_nothing_lower_than_what_was_told(world: World) -> None:
    """Receipts whose offset was not committed come again, one at a time; the last of them is told again."""
    await world.connect("alice", "gw-1")
    await world.connect("bob", "gw-2", "laptop")
    await world.say(a_receipt(delivered=4, read=2), a_receipt(delivered=9, read=7))
    await world.run()
    await world.take_over()
    for delivered, read in ((4, 2), (9, 7), (8, 8)):
        await world.say(a_receipt(delivered=delivered, read=read))
        await world.run()
    told = [(frame["delivered"], frame["read"]) for _, _, frame in world.outbounds("gw-1")]
    assert told == [(9, 7), (9, 7), (None, 8)]
    assert [frame["read"] for _, _, frame in world.outbounds("gw-2")] == [7, 7, 8]
