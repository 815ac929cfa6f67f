"""How far each group is, once a second, from the beginning of a run to its end."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final

from infra.ports import Bus
from pipeline.topology import STAGES, group_of
from schemas.errors import Unavailable
from tests.faults.dumps import Offset
from tests.faults.folder import Lines

__all__ = ["OffsetLog"]

INTERVAL_S: Final = 1.0


class OffsetLog:
    """Samples into a file; also says when every group has reached the end."""

    def __init__(self, bus: Bus, lines: Lines) -> None:
        self._bus = bus
        self._lines = lines

    async def run(self) -> None:
        """Until cancelled; while Kafka is away there is nothing to see."""
        while True:
            with suppress(Unavailable):
                await self.sample()
            await asyncio.sleep(INTERVAL_S)

    async def sample(self) -> int:
        """One sample of every partition; returns how many records are not committed yet."""
        waiting = 0
        for stage in STAGES:
            group, topic = group_of(stage.name), stage.reads
            committed = await self._bus.committed(group, topic)
            ends = await self._bus.ends(topic)
            for partition, end in ends.items():
                done = committed.get(partition, 0)
                waiting += max(0, end - done)
                self._lines.write(
                    Offset(
                        t=time.monotonic(),
                        group=group,
                        topic=topic,
                        partition=partition,
                        committed=done,
                        end=end,
                    )
                )
        return waiting

    async def caught_up(self, timeout_s: float) -> bool:
        """Wait until nothing waits; False if that takes too long (I10)."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    with suppress(Unavailable):
                        if await self.sample() == 0:
                            return True
                    await asyncio.sleep(INTERVAL_S)
        except TimeoutError:
            return False
