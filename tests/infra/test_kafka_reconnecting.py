"""infra/kafka/reconnecting.py"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from infra.kafka import reconnecting
from infra.kafka.reconnecting import reconnect_calmly


class Driver:
    """What is used of the driver's client."""

    def __init__(self) -> None:
        self.tried: list[Any] = []
        self.away = True
        reconnect_calmly(self)

    async def _get_conn(self, node_id: int, *, group: str = "default") -> str | None:
        self.tried.append((node_id, group))
        await asyncio.sleep(0)
        return None if self.away else f"{node_id} {group}"


async def test_all_who_ask_for_one_that_is_away_wait_for_one_try() -> None:
    """And are told its outcome; another broker or purpose is another matter."""
    driver = Driver()
    assert await driver._get_conn(1) is None
    assert await asyncio.gather(*(driver._get_conn(1) for _ in range(50))) == [None] * 50
    assert driver.tried == [(1, "default")] * 2
    assert await driver._get_conn(1, group="coordination") is None
    assert await driver._get_conn(2) is None
    assert driver.tried[2:] == [(1, "coordination"), (2, "default")]


async def test_a_loop_without_a_pause_is_given_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tries no more often than once in each pause."""
    monkeypatch.setattr(reconnecting, "PAUSE_S", 0.05)
    driver, loop = Driver(), asyncio.get_running_loop()
    began = loop.time()
    for _ in range(5):
        assert await driver._get_conn(1) is None
    assert loop.time() - began >= 4 * 0.05


async def test_who_is_back_is_reached_whenever_he_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """All who waited are let in, and nobody waits from then on."""
    monkeypatch.setattr(reconnecting, "PAUSE_S", 0.01)
    driver = Driver()
    await driver._get_conn(1)
    driver.away = False
    assert await asyncio.gather(*(driver._get_conn(1) for _ in range(3))) == ["1 default"] * 3
    monkeypatch.setattr(reconnecting, "PAUSE_S", 1e6)
    assert await driver._get_conn(1) == "1 default"


async def test_a_try_that_is_given_up_leaves_the_way_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits may be cancelled; the next one tries."""
    driver = Driver()
    await driver._get_conn(1)
    waiting = asyncio.create_task(driver._get_conn(1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    monkeypatch.setattr(reconnecting, "PAUSE_S", 0.0)
    assert await driver._get_conn(1) is None
    assert len(driver.tried) == 2
