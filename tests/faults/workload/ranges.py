"""Which seqs of a conversation a client has: a few ranges, however many there are."""

from __future__ import annotations

from bisect import bisect_right

__all__ = ["Ranges"]


class Ranges:
    """A set of whole numbers from 1 on, kept as ranges that do not touch."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    @property
    def top(self) -> int:
        """The highest; 0 for none."""
        return self._lasts[-1] if self._lasts else 0

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def add(self, number: int) -> None:
        """Take it in; one that is there already changes nothing."""
        at = bisect_right(self._firsts, number)
        if at and number <= self._lasts[at - 1]:
            return
        joins_before = at > 0 and self._lasts[at - 1] == number - 1
        joins_after = at < len(self._firsts) and self._firsts[at] == number + 1
        if joins_before and joins_after:
            self._lasts[at - 1] = self._lasts.pop(at)
            self._firsts.pop(at)
        elif joins_before:
            self._lasts[at - 1] = number
        elif joins_after:
            self._firsts[at] = number
        else:
            self._firsts.insert(at, number)
            self._lasts.insert(at, number)

    def holes(self) -> list[tuple[int, int]]:
        """What is missing between 1 and the top, lowest first, as (first, last)."""
        before = [0, *self._lasts]
        return [
            (low + 1, high - 1) for low, high in zip(before, self._firsts, strict=False) if low + 1 < high
        ]
