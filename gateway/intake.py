"""What sockets brought and nobody has looked at yet: a bounded part each turn of the loop, in fair turns.

A socket brings up to 256 KB at a time, some 1,500 sends. With many that talk more than can be carried, one
turn of the loop took seconds, and in these the log, the lease and every answer waited. What is beyond the
bound stays in the sockets, whose clients are then slowed down by TCP.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["PIECE_BYTES", "TURN_BYTES", "Intake", "Source"]

TURN_BYTES: Final = 65_536
"""Some 400 sends, 5 to 10 ms of work."""
PIECE_BYTES: Final = 8_192
"""Of one socket, before others that wait have their piece."""


class Source(Protocol):
    """A socket, as the intake needs it."""

    def take_in(self, data: bytes) -> None:
        """Handle what this socket brought. Raises nothing."""

    def pause_reading(self) -> None:
        """Leave in the socket what comes from now on. No effect on one that closes; nor has the other."""

    def resume_reading(self) -> None:
        """Read on."""


class _Kept:
    """What a socket brought, since when it is here, and how much of it has been handled."""

    __slots__ = ("data", "done", "since")

    def __init__(self, data: bytes, done: int, since: float) -> None:
        self.data = data
        self.done = done
        self.since = since


class Intake:
    """Order: of one socket that of its bytes; of several, who waits longest has the next piece.

    Bound: `TURN_BYTES` a turn over all sockets, and kept is at most what each brought at once, since it is
    read no further meanwhile.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._waiting: OrderedDict[Source, _Kept] = OrderedDict()
        """Who waits longest comes first."""
        self._room_bytes = TURN_BYTES
        self._turn_comes = False

    @property
    def late_s(self) -> float:
        """How old that is which is handled next."""
        for kept in self._waiting.values():
            return self._now() - kept.since
        return 0.0

    def bring(self, source: Source, data: bytes) -> None:
        """A socket brought this: handled now if there is room and nobody waits, otherwise in its turn."""
        kept = self._waiting.get(source)
        if kept is not None:  # a transport may have had something in hand when it was paused
            kept.data = kept.data[kept.done :] + data
            kept.done = 0
            return
        if not self._turn_comes:
            self._come_again()
        size = len(data)
        if size <= PIECE_BYTES and size <= self._room_bytes and not self._waiting:
            self._room_bytes -= size
            source.take_in(data)
        else:
            self._waiting[source] = _Kept(data, 0, self._now())
            source.pause_reading()

    def forget(self, source: Source) -> None:
        """This socket is gone, and what it brought last with it."""
        self._waiting.pop(source, None)

    def _turn(self) -> None:
        self._room_bytes = TURN_BYTES
        waiting = self._waiting
        while waiting and self._room_bytes > 0:
            source, kept = waiting.popitem(last=False)
            end = kept.done + PIECE_BYTES
            piece = kept.data[kept.done : end]
            self._room_bytes -= len(piece)
            if end < len(kept.data):
                kept.done = end
                waiting[source] = kept
            source.take_in(piece)
            if source not in waiting:
                source.resume_reading()
        self._turn_comes = False
        if waiting:
            self._come_again()

    def _come_again(self) -> None:
        self._turn_comes = True
        asyncio.get_running_loop().call_soon(self._turn)
