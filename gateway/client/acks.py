"""Deliveries that this client has and has not said so yet. Pure."""

from __future__ import annotations

__all__ = ["Acks"]


class Acks:
    """Gathers delivery numbers and acknowledges them together, after `gather_s` or `gather_count` of them."""

    def __init__(self, gather_s: float = 1.0, gather_count: int = 64) -> None:
        self._gather_s = gather_s
        self._gather_count = gather_count
        self._newest = 0
        self._acked = 0
        self._due: float | None = None

    @property
    def due(self) -> float | None:
        """When the next ack is to be written; None when nothing is owed."""
        return self._due

    def restart(self) -> None:
        """A new session counts its deliveries from 1."""
        self._newest = self._acked = 0
        self._due = None

    def resume(self) -> None:
        """The session goes on over a new connection: say anew what was had, the last ack may be lost."""
        self._acked = 0
        self._due = 0.0 if self._newest else None

    def delivered(self, n: int, now: float) -> None:
        """Delivery `n` is here. A repeat of one that was acked is acked again: the ack was lost."""
        self._newest = max(self._newest, n)
        if self._newest - self._acked >= self._gather_count:
            self._due = now
        elif self._due is None:
            self._due = now + self._gather_s

    def take(self, now: float) -> int | None:
        """The number to acknowledge now, if it is time."""
        if self._due is None or now < self._due:
            return None
        self._acked = self._newest
        self._due = None
        return self._newest
