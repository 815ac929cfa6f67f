"""Several things at once, of which one may fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar, overload

__all__ = ["all_ended", "look_up", "together"]

_A = TypeVar("_A")
_B = TypeVar("_B")
_C = TypeVar("_C")

_LOOKUPS: Final = 64


@overload
async def together(first: Coroutine[Any, Any, _A], second: Coroutine[Any, Any, _B], /) -> tuple[_A, _B]: ...
@overload
async def together(
    first: Coroutine[Any, Any, _A], second: Coroutine[Any, Any, _B], third: Coroutine[Any, Any, _C], /
) -> tuple[_A, _B, _C]: ...
@overload
async def together(*work: Coroutine[Any, Any, _A]) -> tuple[_A, ...]: ...
async def together(*work: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
    """What each comes to, all run at once. The first that fails stops the others, and its error alone is
    raised.

    No `TaskGroup`: until Python 3.13 a task in whose group something failed counts as cancelled from then on
    (`Task.cancelling`), and whoever asks that, as a stage does before it tries again, ends.
    """
    tasks = [asyncio.create_task(each) for each in work]
    done: set[asyncio.Task[Any]] = set()
    try:
        if tasks:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        rest = [task for task in tasks if not task.done()]
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.gather(*rest, return_exceptions=True)
    for task in tasks:
        if task in done:
            task.result()
    return tuple(task.result() for task in tasks)


async def look_up(
    names: Iterable[_A], ask: Callable[[_A], Awaitable[_B]], at_once: int = _LOOKUPS
) -> dict[_A, _B]:
    """What `ask` answers for each name, in their order; a bound of questions at a time. Raises what `ask`
    raises."""
    turn = asyncio.Semaphore(at_once)

    async def answer(name: _A) -> tuple[_A, _B]:
        async with turn:
            return name, await ask(name)

    return dict(await together(*(answer(name) for name in names)))


async def all_ended(*work: Awaitable[object]) -> None:
    """Run all at once, and to the end: what is done in a thread cannot be stopped. Raises the error of the
    first, in the order given, that failed."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
