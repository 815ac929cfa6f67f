"""Who got what: every seq once, in order, for every member; every send one answer. Pure."""

from __future__ import annotations

from itertools import pairwise

__all__ = ["SendLedger", "SeqLedger"]


class SeqLedger:
    """What one connection saw of one conversation, whose first expected seq is `base`."""

    __slots__ = ("_ahead", "_highest", "_next", "base", "reordered", "repeated")

    def __init__(self, base: int = 1) -> None:
        self.base = base
        self.repeated = 0
        self.reordered = 0
        self._next = base
        self._highest = base - 1
        self._ahead: set[int] = set()

    @property
    def seen(self) -> int:
        """How many different seqs were seen."""
        return self._next - self.base + len(self._ahead)

    @property
    def head(self) -> int:
        """The highest seq seen."""
        return max(self._ahead, default=self._next - 1)

    def delivered(self, first: int, last: int) -> None:
        """The seqs `first`…`last` were delivered, in this order."""
        if first == self._next and not self._ahead:
            self._next = last + 1
            self._highest = last
            return
        for seq in range(first, last + 1):
            self._delivered_one(seq)

    def own(self, seq: int) -> None:
        """An own message got this seq: it is not delivered, and may be told before its neighbours come."""
        if seq < self._next or seq in self._ahead:
            self.repeated += 1
        else:
            self._see(seq)

    def missing(self, head: int) -> int:
        """How many seqs up to `head` were not seen."""
        return head - self.base + 1 - self.seen

    def _delivered_one(self, seq: int) -> None:
        if seq < self._next or seq in self._ahead:
            self.repeated += 1
            return
        if seq < self._highest:
            self.reordered += 1
        self._highest = max(self._highest, seq)
        self._see(seq)

    def _see(self, seq: int) -> None:
        self._ahead.add(seq)
        while self._next in self._ahead:
            self._ahead.discard(self._next)
            self._next += 1


class SendLedger:
    """The sends of one connection, by their running number from 0."""

    __slots__ = ("_seqs", "rejected", "repeated", "sends")

    def __init__(self) -> None:
        self.sends = 0
        self.repeated = 0
        self.rejected = 0
        self._seqs: dict[int, int] = {}

    @property
    def unanswered(self) -> int:
        """Sends that were neither sent nor rejected: lost, once nothing more can come."""
        return self.sends - len(self._seqs) - self.rejected

    @property
    def reordered(self) -> int:
        """Neighbouring sends whose seqs do not rise."""
        seqs = [self._seqs[index] for index in sorted(self._seqs)]
        return sum(later <= earlier for earlier, later in pairwise(seqs))

    def sent(self, index: int, seq: int) -> bool:
        """Send `index` got its place. False if that was known."""
        if index in self._seqs:
            self.repeated += 1
            return False
        self._seqs[index] = seq
        return True
