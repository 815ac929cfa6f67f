"""A crowd of users in a process of its own: `python -m tests.faults.workload.crowd PLAN`.

It obeys one `Order` a line on a Unix socket, each answered by a `Done` when it is carried out, and ends with
the connection. What its users do and see goes straight into the folder of the run.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Literal

import msgspec
import uvloop

from schemas.errors import Unavailable
from tests.faults.folder import Folder
from tests.faults.workload.cast import new_cast
from tests.faults.workload.traffic import Traffic

__all__ = ["Done", "Order", "Plan", "serve"]


class Plan(msgspec.Struct, frozen=True):
    """`tokens`: by user. `control`: path of the Unix socket."""

    url: str
    tokens: dict[str, str]
    seed: int
    crowd: int
    folder: str
    control: str


class Order(msgspec.Struct, frozen=True):
    """What to do next; `enter` first."""

    do: Literal["enter", "run", "quiet", "settle"]
    per_s: float = 0.0
    until: float = 0.0


class Done(msgspec.Struct, frozen=True):
    """An order is carried out, or has failed."""

    counts: dict[str, int]
    unanswered: int = 0
    unsettled: list[str] = []
    failed: str = ""


async def serve(plan: Plan) -> None:
    """Wait for the one who gives the orders, and work until he leaves."""
    left = asyncio.Event()

    async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _obey(plan, reader, writer)
        finally:
            writer.close()
            left.set()

    async with await asyncio.start_unix_server(obey, plan.control):
        await left.wait()


async def _obey(plan: Plan, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    cast = new_cast(plan.seed, plan.crowd)
    with Folder(Path(plan.folder)).clients(str(plan.crowd)) as lines:
        random = Random(f"{plan.seed}/{plan.crowd}")
        traffic = Traffic(plan.url, plan.tokens.__getitem__, cast, lines, random)
        async with AsyncExitStack() as stack:
            while line := await reader.readline():
                order = msgspec.json.decode(line, type=Order)
                try:
                    done = await _carry_out(order, traffic, stack)
                except (Unavailable, TimeoutError) as error:
                    done = Done({}, failed=f"cannot {order.do}: {error!r}")
                writer.write(msgspec.json.encode(done) + b"\n")
                await writer.drain()


async def _carry_out(order: Order, traffic: Traffic, stack: AsyncExitStack) -> Done:
    unanswered, unsettled = 0, []
    match order.do:
        case "enter":
            await stack.enter_async_context(traffic)
        case "run":
            await traffic.run(order.per_s, order.until)
        case "quiet":
            unanswered = await traffic.quiet()
        case "settle":
            unsettled = await traffic.settle()
    return Done(dict(traffic.counts), unanswered, unsettled)


if __name__ == "__main__":
    uvloop.run(serve(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)))
