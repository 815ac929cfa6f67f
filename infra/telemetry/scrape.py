"""Asking processes for their figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

import aiohttp
import msgspec

from infra.ports import Announced
from infra.telemetry.exposition import Series, parse_look
from schemas.errors import Undecodable

__all__ = ["Seen", "scrape"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=2.0)


class Seen(msgspec.Struct, frozen=True):
    """What a process said, and when (monotonic seconds)."""

    at: float
    look: dict[Series, float]


async def scrape(http: aiohttp.ClientSession, processes: Iterable[Announced]) -> dict[Announced, Seen]:
    """All at once, two seconds at most; who does not answer is missing."""
    wanted = list(processes)
    answers = await asyncio.gather(*(_one(http, process) for process in wanted))
    return {process: seen for process, seen in zip(wanted, answers, strict=True) if seen is not None}


async def _one(http: aiohttp.ClientSession, process: Announced) -> Seen | None:
    try:
        async with http.get(f"http://{process.address}/metrics", timeout=_TIMEOUT) as answer:
            text, at = await answer.text(), time.monotonic()
            return Seen(at, parse_look(text)) if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError, Undecodable):
        return None
