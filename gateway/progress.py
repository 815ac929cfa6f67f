"""What the client of one session is known to have: the ground of the tokens it is given. Pure."""

from __future__ import annotations

from typing import Final

from gateway.sync_token import SyncToken

__all__ = ["MAX_HEADS", "Progress"]

MAX_HEADS: Final = 100
_NOTHING: Final = -1


class Progress:
    """Moves a session's token forward, and never past what its client might lack.

    A message can miss a session in one way: it was fanned out before the session's route was there,
    and stored after its sync had read. The heads of the next `pong` show it. So the token runs one
    pong behind the heads: it moves only to a time whose changes an earlier pong has announced, and
    never past a delivery that is not acknowledged.
    """

    __slots__ = ("announced_ms", "have_ms", "lost_at_ms", "paging")

    def __init__(self) -> None:
        self.have_ms = _NOTHING
        self.announced_ms = 0
        self.lost_at_ms = 0
        """When the table was found empty while this session was there, or not whole again when it synced;
        0: what it may have missed is told."""
        self.paging: object | None = None
        """What is left of a sync that takes several pages (`sync.py`)."""

    @property
    def token(self) -> str:
        return "" if self.have_ms == _NOTHING else str(SyncToken(self.have_ms))

    def came_with(self, since_ms: int | None) -> None:
        """A sync begins from this time; until one is finished the token stays there."""
        if since_ms is not None:
            self.have_ms = max(self.have_ms, since_ms)

    def synced(self, target_ms: int) -> None:
        """The client got everything below `target_ms`."""
        self.have_ms = max(self.have_ms, target_ms)
        self.announced_ms = max(self.announced_ms, target_ms)

    def recount(self, consumed_ms: int) -> bool:
        """Heads are read from the history once more. Whether they show everything that was missed.

        What was fanned out before the loss is stored once `consumed_ms` has passed it; what was announced
        from the table since then counts for nothing.
        """
        self.announced_ms = max(self.have_ms, 0)
        if consumed_ms <= self.lost_at_ms:
            return False
        self.lost_at_ms = 0
        return True

    def announce(self, consumed_ms: int, heads_count: int, oldest_unacked_ms: int | None) -> str:
        """The token for a pong with these heads, that show what changed since `announced_ms`.

        `consumed_ms`: everything below it is fanned out, stored and handed to this gateway's sessions.
        """
        if self.have_ms != _NOTHING and self.announced_ms > 0:
            reach = (
                self.announced_ms if oldest_unacked_ms is None else min(self.announced_ms, oldest_unacked_ms)
            )
            self.have_ms = max(self.have_ms, reach)
        if heads_count < MAX_HEADS:
            self.announced_ms = max(self.announced_ms, consumed_ms)
        return self.token
