"""Deliveries that many connections get: the messages of a frame are decoded once, not once per member. Pure.

Frames of one delivery differ only in `n`, at their beginning. What follows is compared with what other
connections got: a thousand members cost a thousand comparisons of memory and one decoding.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

from gateway.client.load.wire import mark_due_us

__all__ = ["Delivered", "LeanMessage", "Tail", "TailBook"]

KEPT: Final = 4_096
"""Tails that can still be recognised; a connection that is further behind decodes for itself."""
GRAIN_US: Final = 100


class LeanMessage(msgspec.Struct, frozen=True, gc=False):
    """What a measurement wants of a message."""

    seq: int
    client_msg_id: str


class Delivered(msgspec.Struct, frozen=True, gc=False):
    """What a measurement wants of a `deliver` frame."""

    n: int
    messages: list[LeanMessage]


_DECODER = msgspec.json.Decoder(Delivered)


class Tail:
    """The messages of one delivery, and when it arrived where."""

    __slots__ = ("arrivals_us", "count", "dues_us", "first", "last", "place", "raw", "seqs")

    def __init__(self, raw: bytes, place: int, run: str) -> None:
        messages = _DECODER.decode(b'{"n":0' + raw).messages
        self.raw = raw
        self.place = place
        self.seqs = [message.seq for message in messages]
        self.count = len(messages)
        self.first, self.last = self.seqs[0], self.seqs[-1]
        self.dues_us = [mark_due_us(m.client_msg_id) for m in messages if m.client_msg_id.startswith(run)]
        self.arrivals_us: list[int] = []

    @property
    def contiguous(self) -> bool:
        return self.last - self.first + 1 == self.count


class TailBook:
    """All tails of a run, in the order in which they were first seen."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._tails: list[Tail] = []
        self._by_raw: dict[bytes, Tail] = {}

    def find(self, data: bytes, start: int, end: int, guess: int) -> Tail:
        """The tail that stands in `data[start:end]`; `guess` is the place it probably has."""
        tails = self._tails
        if guess < len(tails):
            tail = tails[guess]
            if len(tail.raw) == end - start and data.startswith(tail.raw, start):
                return tail
        raw = data[start:end]
        found = self._by_raw.get(raw)
        return self._add(raw) if found is None else found

    def latencies_us(self, from_us: int, until_us: int) -> Counter[int]:
        """How long messages due in the window took to each of their receivers, in steps of 100 µs."""
        latencies: Counter[int] = Counter()
        for tail in self._tails:
            for due in tail.dues_us:
                if from_us <= due < until_us:
                    latencies.update([(at - due) // GRAIN_US * GRAIN_US for at in tail.arrivals_us])
        return latencies

    def arrived(self, from_us: int, until_us: int) -> int:
        """How many messages arrived in the window, counted for each receiver."""
        return sum(
            tail.count * sum(from_us <= at < until_us for at in tail.arrivals_us) for tail in self._tails
        )

    def _add(self, raw: bytes) -> Tail:
        tail = Tail(raw, len(self._tails), self._run)
        self._tails.append(tail)
        self._by_raw[raw] = tail
        if len(self._tails) > KEPT:
            old = self._tails[-KEPT - 1]
            self._by_raw.pop(old.raw, None)
            old.raw = b""
        return tail
