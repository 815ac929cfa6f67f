"""The processes of the load generator: started together, told together, ended together."""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Final, Self

from gateway.client.load.generator import Generator
from gateway.client.load.share import Connected, Outcome, Share, Timing
from schemas.errors import Unavailable

__all__ = ["Fleet", "raise_file_limit"]

END_TIMEOUT_S: Final = 10.0
ANSWER_TIMEOUT_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class _Order:
    """Call `method` of the generator and send back what it returns."""

    method: str
    arguments: tuple[Any, ...] = ()


class Fleet:
    """`with Fleet(shares) as fleet:` — one process per share; an order goes to all at once."""

    def __init__(self, shares: Sequence[Share]) -> None:
        context = multiprocessing.get_context("spawn")
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        for share in shares:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(share, theirs), daemon=True)
            self._processes.append(process)
            self._pipes.append(ours)

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            pipe.close()
            process.join(END_TIMEOUT_S)
            if process.is_alive():
                process.kill()
                process.join()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes if process.pid is not None]

    def connect(self) -> list[Connected]:
        """Open all connections. Raises `Unavailable` if one is refused."""
        return self.order("connect")

    def storm(self) -> list[Connected]:
        """Cut all connections and open them again."""
        return self.order("storm")

    def hold(self, seconds: float) -> Outcome:
        """Stay connected."""
        return _together(self.order("hold", seconds))

    def start(self, timing: Timing) -> None:
        """Begin a run whose outcome `finish` waits for."""
        self._give(_Order("run", (timing,)))

    def finish(self) -> Outcome:
        """What the run that was started came to."""
        return _together(self._answers())

    def order(self, method: str, *arguments: Any) -> list[Any]:
        self._give(_Order(method, arguments))
        return self._answers()

    def _give(self, order: _Order) -> None:
        for pipe in self._pipes:
            pipe.send(order)

    def _answers(self) -> list[Any]:
        answers = []
        for pipe in self._pipes:
            if not pipe.poll(ANSWER_TIMEOUT_S):
                raise Unavailable(f"a process of the generator did not answer in {ANSWER_TIMEOUT_S:.0f} s")
            try:
                answers.append(pipe.recv())
            except EOFError:
                raise Unavailable("a process of the generator died; its error stands above") from None
        for answer in answers:
            if isinstance(answer, Unavailable):
                raise answer
        return answers


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    total = Outcome()
    for outcome in outcomes:
        total.add(outcome)
    return total


def raise_file_limit(needed: int) -> None:
    """Let this process and its children open `needed` files. Raises `Unavailable` that names the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Unavailable(
            f"{needed} files are needed and {hard} are allowed → ulimit -Hn {needed}, or fewer connections"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _serve(share: Share, pipe: Connection) -> None:
    """The life of a process: obey orders until the pipe is closed."""
    import uvloop

    uvloop.run(_obey(Generator(share), pipe))


async def _obey(generator: Generator, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    try:
        while True:
            order = await loop.run_in_executor(None, _next_order, pipe)
            if order is None:
                return
            try:
                answer = await getattr(generator, order.method)(*order.arguments)
            except Unavailable as error:
                answer = error
            pipe.send(answer)
    finally:
        await generator.close()


def _next_order(pipe: Connection) -> _Order | None:
    try:
        order: _Order = pipe.recv()
        return order
    except (EOFError, OSError, KeyboardInterrupt):
        return None
