"""Several things at once, of which one may fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

__all__ = ["all_ended", "together"]


async def together(*work: Coroutine[Any, Any, object]) -> None:
    """Run all at once. The first that fails stops the others, and its error alone is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def all_ended(*work: Awaitable[object]) -> None:
    """Run all at once, and to the end: what is done in a thread cannot be stopped. Raises the error of the
    first, in the order given, that failed."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
