"""infra/kafka/reconnecting.py"""

from __future__ import annotations

from typing import Any

from infra.clock import ManualClock
from infra.kafka.reconnecting import PAUSE_S, reconnect_calmly


class Driver:
    """What is used of the driver's client."""

    def __init__(self) -> None:
        self.tried: list[Any] = []
        self.away = True

    async def _get_conn(self, node_id: int, *, group: str = "default") -> str | None:
        self.tried.append((node_id, group))
        return None if self.away else f"{node_id} {group}"


async def test_who_is_away_is_tried_again_after_a_pause() -> None:
    """Each broker and purpose by itself; whoever asks meanwhile is told that there is no connection."""
    driver, clock = Driver(), ManualClock()
    reconnect_calmly(driver, clock.monotonic)  # type: ignore[arg-type]
    for _ in range(10):
        assert await driver._get_conn(1) is None
        assert await driver._get_conn(1, group="coordination") is None
        assert await driver._get_conn(2) is None
        clock.advance(PAUSE_S / 10)
    assert driver.tried == [(1, "default"), (1, "coordination"), (2, "default")]
    clock.advance(PAUSE_S)
    assert await driver._get_conn(1) is None
    assert len(driver.tried) == 4


async def test_who_is_back_is_reached_at_once_and_whenever_he_is_asked_for() -> None:
    """A pause follows failures only."""
    driver, clock = Driver(), ManualClock()
    reconnect_calmly(driver, clock.monotonic)  # type: ignore[arg-type]
    await driver._get_conn(1)
    driver.away = False
    clock.advance(PAUSE_S)
    assert [await driver._get_conn(1) for _ in range(3)] == ["1 default"] * 3
    driver.away = True
    assert await driver._get_conn(1) is None
    assert len(driver.tried) == 5
