"""Several crowds that talk side by side, each in a process of its own and about its own."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from infra.stack.process import ChildProcess, ChildSpec
from tests.faults.workload.cast import new_cast
from tests.faults.workload.crowd import Done, Order, Plan

__all__ = ["Crowds"]


class _Crowd:
    """One of them, seen from outside."""

    def __init__(self, plan: Plan, log: Path) -> None:
        self._plan = plan
        file = Path(plan.control).with_suffix(".json")
        file.write_bytes(msgspec.json.encode(plan))
        argv = (sys.executable, "-m", "tests.faults.workload.crowd", str(file))
        self._process = ChildProcess(ChildSpec(f"crowd-{plan.crowd}", argv, log, self._reaches))
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._process.start()
            await self._process.wait_ready()
            await self.give(Order("enter"))
        except BaseException:
            await self._process.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        await self._process.stop()

    async def give(self, order: Order) -> Done:
        """Wait until it is carried out. Raises `Unavailable` if it cannot be, or the crowd is gone."""
        assert self._reader is not None
        assert self._writer is not None
        self._writer.write(msgspec.json.encode(order) + b"\n")
        line = await self._reader.readline()
        if not line:
            raise self._process.failure("has ended")
        done = msgspec.json.decode(line, type=Done)
        if done.failed:
            raise self._process.failure(done.failed)
        return done

    async def _reaches(self) -> bool:
        try:
            self._reader, self._writer = await asyncio.open_unix_connection(self._plan.control)
        except OSError:
            return False
        return True


class Crowds:
    """`async with Crowds(…) as crowds:` — everybody is connected and every group exists."""

    def __init__(
        self, url: str, token: Callable[[str], str], seed: int, count: int, folder: Path, data_dir: Path
    ) -> None:
        self.counts: Counter[str] = Counter()
        sockets = data_dir / "crowds"
        sockets.mkdir(parents=True, exist_ok=True)
        self._crowds = []
        for crowd in range(count):
            users = {device.user for device in new_cast(seed, crowd).devices}
            tokens = {user: token(user) for user in sorted(users)}
            plan = Plan(url, tokens, seed, crowd, str(folder), str(sockets / f"{crowd}.sock"))
            self._crowds.append(_Crowd(plan, data_dir / "log" / f"crowd-{crowd}.log"))
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as entered:
            for crowd in self._crowds:
                await entered.enter_async_context(crowd)
            self._exit = entered.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    async def run(self, per_s: float, until: float) -> None:
        """Deeds at this rate of all together, until then (monotonic)."""
        for done in await self._all(Order("run", per_s / len(self._crowds), until)):
            self.counts.update(done.counts)

    async def quiet(self) -> int:
        """Wait until every send has its answer, within a bound; returns how many have none."""
        return sum(done.unanswered for done in await self._all(Order("quiet")))

    async def settle(self) -> list[str]:
        """Everybody asks for all that may be missing; returns the clients that could not."""
        return [client for done in await self._all(Order("settle")) for client in done.unsettled]

    async def _all(self, order: Order) -> list[Done]:
        return await asyncio.gather(*(crowd.give(order) for crowd in self._crowds))
