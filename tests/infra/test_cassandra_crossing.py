"""infra/cassandra/crossing.py"""

from __future__ import annotations

import asyncio
import threading

from infra.cassandra.crossing import Crossing


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts how often another thread woke it."""

    woken = 0

    def call_soon_threadsafe(self, *args: object, **kwargs: object) -> asyncio.Handle:
        self.woken += 1
        return super().call_soon_threadsafe(*args, **kwargs)  # type: ignore[arg-type]


def test_whatever_came_while_the_loop_was_busy_arrives_by_one_wake_up() -> None:
    """In the order it came."""
    loop = CountingLoop()
    crossing = Crossing(loop)
    arrived: list[int] = []
    for number in range(100):
        crossing.run_soon(lambda number=number: arrived.append(number))  # type: ignore[misc]
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert arrived == list(range(100))
    assert loop.woken == 1


async def test_everything_of_several_threads_arrives() -> None:
    """None is left behind between two wake-ups."""
    crossing, arrived, all_here = Crossing(asyncio.get_running_loop()), list[int](), asyncio.Event()

    def arrive() -> None:
        arrived.append(1)
        if len(arrived) == 4_000:
            all_here.set()

    def send() -> None:
        for _ in range(1_000):
            crossing.run_soon(arrive)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.wait_for(all_here.wait(), 30)
    for thread in threads:
        thread.join()


def test_what_comes_after_the_loop_has_closed_is_dropped() -> None:
    """Nobody waits for it any more."""
    loop = asyncio.new_event_loop()
    crossing = Crossing(loop)
    loop.close()
    crossing.run_soon(lambda: None)
