"""A set of seqs that is mostly contiguous: kept as closed ranges, so a million seqs cost a few numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

__all__ = ["Ranges"]


class Ranges:
    """Adding the next seq costs nothing to speak of; anything else a bisection."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def add(self, seq: int) -> bool:
        """Whether it was new."""
        lasts = self._lasts
        if lasts and seq == lasts[-1] + 1:
            lasts[-1] = seq
            return True
        at = bisect_right(self._firsts, seq)
        if at and seq <= lasts[at - 1]:
            return False
        self._insert(at, seq)
        return True

    def _insert(self, at: int, seq: int) -> None:
        joins_left = at > 0 and self._lasts[at - 1] == seq - 1
        joins_right = at < len(self._firsts) and self._firsts[at] == seq + 1
        if joins_left and joins_right:
            self._lasts[at - 1] = self._lasts.pop(at)
            self._firsts.pop(at)
        elif joins_left:
            self._lasts[at - 1] = seq
        elif joins_right:
            self._firsts[at] = seq
        else:
            self._firsts.insert(at, seq)
            self._lasts.insert(at, seq)

    def add_range(self, first: int, last: int) -> None:
        for seq in list(self.missing(first, last)):
            self.add(seq)

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self._firsts, seq)
        return at > 0 and seq <= self._lasts[at - 1]

    def missing(self, first: int, last: int) -> Iterator[int]:
        """The seqs from `first` to `last` that are not in the set."""
        at = max(bisect_right(self._firsts, first) - 1, 0)
        seq = first
        while seq <= last:
            while at < len(self._firsts) and self._lasts[at] < seq:
                at += 1
            if at < len(self._firsts) and self._firsts[at] <= seq:
                seq = self._lasts[at] + 1
            else:
                yield seq
                seq += 1
