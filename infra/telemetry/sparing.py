"""A library that says the same thing a hundred times a second is heard a few times, and how often it was not.

While Kafka is away its driver writes some fifty lines a second in each worker, and what else went wrong
drowns in them. Our own events are left alone: they are written where there is something new to say.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["Sparing"]

_MOST_KINDS: Final = 1_000
"""Lines that are made anew each time would otherwise be remembered for good."""


@dataclass(slots=True)
class _Said:
    since: float
    times: int = 1


class Sparing(logging.Filter):
    """Lets `most` lines of a kind pass in `window_s`; the first one after that names how many did not.

    Of one kind are lines of the same logger, level and text before its arguments are put in.
    """

    def __init__(
        self, most: int = 5, window_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._most = most
        self._window_s = window_s
        self._clock = clock
        self._said: dict[tuple[str, int, str], _Said] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not isinstance(record.msg, str):
            return True
        kind, now = (record.name, record.levelno, record.msg), self._clock()
        said = self._said.get(kind)
        if said is not None and now - said.since < self._window_s:
            said.times += 1
            return said.times <= self._most
        if len(self._said) >= _MOST_KINDS:
            self._said.clear()
        self._said[kind] = _Said(now)
        if said is not None and said.times > self._most:
            record.msg += f" (and {said.times - self._most} more like it since)"
        return True
