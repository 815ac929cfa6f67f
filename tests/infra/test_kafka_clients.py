"""infra/kafka/clients.py: a client that is stopped ends nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from infra.kafka.clients import stop


class Connections:
    closed = False

    async def close(self) -> None:
        self.closed = True


class Driver:
    """A client whose stopping cancels a task of its own and waits for it, as a consumer's does."""

    def __init__(self) -> None:
        self.own: asyncio.Task[Any] = asyncio.create_task(asyncio.sleep(3600))
        self.stopping = asyncio.Event()
        self._client = Connections()

    async def stop(self) -> None:
        self.stopping.set()
        self.own.cancel()
        await self.own


class Stuck(Driver):
    async def stop(self) -> None:
        self.stopping.set()
        await self.own


async def test_a_task_that_the_driver_cancels_is_no_cancellation_of_ours() -> None:
    """A ledger ended by it while Kafka was away. What the driver did not come to is done."""
    driver = Driver()
    await stop(driver)
    assert driver._client.closed


async def test_who_is_cancelled_while_he_stops_a_client_is_cancelled() -> None:
    """Nothing is swallowed."""
    driver = Stuck()
    stopping = asyncio.create_task(stop(driver))
    await driver.stopping.wait()
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert driver.own.cancelled()
