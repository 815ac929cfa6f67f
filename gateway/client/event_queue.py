"""Events on their way to the application."""

from __future__ import annotations

import asyncio
from collections import deque

from gateway.client.events import Event

__all__ = ["EventQueue"]


class EventQueue:
    """Holds at most `limit` events. Full: the writer waits; while nobody ever read, the oldest is dropped.

    So a program that only sends need not read, and one that reads gets everything.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: deque[Event] = deque()
        self._read = False
        self._closed = False
        self._changed = asyncio.Condition()

    async def put(self, event: Event) -> None:
        """Add an event. Waits while full, if somebody reads."""
        async with self._changed:
            if not self._read and len(self._events) >= self._limit:
                self._events.popleft()
            await self._changed.wait_for(lambda: len(self._events) < self._limit)
            self._events.append(event)
            self._changed.notify_all()

    async def get(self) -> Event | None:
        """The next event; None when there will be no more."""
        async with self._changed:
            self._read = True
            await self._changed.wait_for(lambda: self._events or self._closed)
            event = self._events.popleft() if self._events else None
            self._changed.notify_all()
            return event

    async def close(self, *last: Event) -> None:
        """These are the last events; they and those that are here can still be read."""
        async with self._changed:
            self._closed = True
            self._events.extend(last)
            self._changed.notify_all()
