"""What sockets brought, a bounded part each turn of the loop."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.intake import PIECE_BYTES, TURN_BYTES, Intake


class Socket:
    """Notes what is taken in, and in which turn of the loop."""

    def __init__(self, name: str, taken: list[tuple[int, str, bytes]]) -> None:
        self.name = name
        self.reading = True
        self.turn = 0
        self._taken = taken

    def take_in(self, data: bytes) -> None:
        self._taken.append((self.turn, self.name, data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True


class Room:
    """Some sockets and their intake; `turns` lets the loop turn until nothing waits."""

    def __init__(self, names: str) -> None:
        self.taken: list[tuple[int, str, bytes]] = []
        self.sockets = {name: Socket(name, self.taken) for name in names}
        self.intake = Intake(time.monotonic)

    def bring(self, name: str, data: bytes) -> None:
        self.intake.bring(self.sockets[name], data)

    async def turn(self) -> None:
        for socket in self.sockets.values():
            socket.turn += 1
        await asyncio.sleep(0)

    async def turns(self) -> None:
        await self.turn()
        while not all(socket.reading for socket in self.sockets.values()):
            await self.turn()

    def of(self, name: str) -> bytes:
        return b"".join(data for _, taker, data in self.taken if taker == name)


async def test_what_has_room_is_handled_at_once() -> None:
    room = Room("a")
    room.bring("a", b"one")
    assert room.of("a") == b"one"
    assert room.sockets["a"].reading


async def test_a_turn_takes_so_much_and_no_more() -> None:
    """However many bring however much, other work of the loop gets between."""
    room = Room("abcdefgh")
    for name in room.sockets:
        room.bring(name, name.encode() * 5 * TURN_BYTES)
    await room.turns()
    sizes: dict[int, int] = {}
    for turn, _, data in room.taken:
        sizes[turn] = sizes.get(turn, 0) + len(data)
    assert max(sizes.values()) < TURN_BYTES + PIECE_BYTES
    assert len(sizes) >= 8 * 5
    assert all(room.of(name) == name.encode() * 5 * TURN_BYTES for name in room.sockets)


async def test_small_brings_are_bounded_too() -> None:
    """A thousand sockets that bring little are as much as one that brings a lot."""
    room = Room("a")
    crowd = [Socket("a", room.taken) for _ in range(1_000)]
    for socket in crowd:
        room.intake.bring(socket, b"x" * 1_000)
    assert len(room.taken) == TURN_BYTES // 1_000
    while not all(socket.reading for socket in crowd):
        await asyncio.sleep(0)
    assert len(room.taken) == 1_000


async def test_who_brings_much_lets_others_go_between() -> None:
    """A flood from one socket delays another by one piece of it, not by all."""
    room = Room("ab")
    room.bring("a", b"a" * 4 * TURN_BYTES)
    room.bring("b", b"hello")
    await room.turns()
    assert [name for _, name, _ in room.taken].index("b") == 1


async def test_a_socket_that_waits_is_read_no_further() -> None:
    room = Room("ab")
    room.bring("a", b"a" * 2 * TURN_BYTES)
    room.bring("b", b"b")
    assert not room.sockets["a"].reading
    assert not room.sockets["b"].reading
    assert room.intake.late_s > 0
    await room.turns()
    assert room.intake.late_s == 0


async def test_who_is_gone_is_forgotten() -> None:
    room = Room("ab")
    room.bring("a", b"a" * TURN_BYTES)
    room.bring("b", b"b")
    room.intake.forget(room.sockets["a"])
    await room.turn()
    await room.turn()
    assert room.of("a") == b""
    assert room.of("b") == b"b"


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3 * PIECE_BYTES), st.booleans()), max_size=30)
)
def test_each_socket_has_its_bytes_in_order(brought: list[tuple[str, int, bool]]) -> None:
    """Also when a transport brings more after it was paused."""

    async def play() -> None:
        room = Room("abc")
        expected = dict.fromkeys("abc", b"")
        for count, (name, size, turn) in enumerate(brought):
            data = (b"%d " % count * size)[:size]
            expected[name] += data
            room.bring(name, data)
            if turn:
                await room.turn()
        await room.turns()
        assert {name: room.of(name) for name in "abc"} == expected
        assert all(before[0] <= after[0] for before, after in pairwise(room.taken))

    asyncio.run(play())
