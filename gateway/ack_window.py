"""Deliveries that a session has not acknowledged: what to send again, and what an ack covers."""

from __future__ import annotations

from typing import Final

from gateway.wire import Delivery
from schemas.codes import Code
from schemas.errors import Refused

__all__ = ["MAX_UNACKED_FRAMES", "AckWindow"]

MAX_UNACKED_FRAMES: Final = 1_024


class AckWindow:
    """`n` counts from 1, acks are cumulative, and a delivery keeps its `n` however often it is sent.

    Deliveries are shared between sessions, so an unacked one costs a session a list entry. The list
    is made when it is needed: most sessions have nothing outstanding.
    """

    __slots__ = ("_tried_at", "_tries", "_unacked", "acked_n", "unacked_bytes")

    def __init__(self) -> None:
        self.acked_n = 0
        self.unacked_bytes = 0
        self._unacked: list[Delivery] | None = None
        self._tries = 1
        self._tried_at = 0.0

    @property
    def last_n(self) -> int:
        return self.acked_n + (len(self._unacked) if self._unacked else 0)

    @property
    def oldest_ms(self) -> int | None:
        """`sent_at_ms` of the first message that is not acknowledged; None if all are."""
        return min(d.sent_at_ms for d in self._unacked) if self._unacked else None

    def push(self, delivery: Delivery) -> int:
        """Take a delivery and return its `n`."""
        if self._unacked is None:
            self._unacked = []
        self._unacked.append(delivery)
        self.unacked_bytes += delivery.size_bytes
        return self.acked_n + len(self._unacked)

    def is_full(self, limit_bytes: int) -> bool:
        """Whether the client has left more unacknowledged than is kept for it."""
        unacked = self._unacked
        return unacked is not None and (len(unacked) > MAX_UNACKED_FRAMES or self.unacked_bytes > limit_bytes)

    def ack(self, n: int) -> list[Delivery]:
        """Everything up to `n` has arrived: what this is news of. Raises `Refused` for a false `n`."""
        unacked = self._unacked or []
        if n < 0 or n > self.acked_n + len(unacked):
            raise Refused(Code.BAD_FRAME, f"n must be between 0 and {self.acked_n + len(unacked)}")
        count = n - self.acked_n
        if count <= 0:
            return []
        covered = unacked[:count]
        if count == len(unacked):
            self._unacked = None
            self.unacked_bytes = 0
        else:
            del unacked[:count]
            self.unacked_bytes -= sum(d.size_bytes for d in covered)
        self.acked_n = n
        self._tries = 1
        return covered

    def unacked(self) -> list[tuple[int, Delivery]]:
        """What is outstanding, with its `n`, oldest first."""
        return list(enumerate(self._unacked or (), self.acked_n + 1))

    def due(self, now: float, timeout_s: float) -> list[tuple[int, Delivery]]:
        """What has waited longer than the timeout since it was last sent."""
        unacked = self._unacked
        if not unacked or now - max(unacked[0].at, self._tried_at) < timeout_s:
            return []
        return [(n, d) for n, d in self.unacked() if now - d.at >= timeout_s]

    def retry(self, now: float, tries: int) -> bool:
        """Count one more sending of what is due; False: it was sent `tries` times already, give up."""
        if self._tries >= tries:
            return False
        self._tries += 1
        self._tried_at = now
        return True

    def restart(self, now: float) -> None:
        """The connection is a new one: everything outstanding is sent on it now, and counts as sent once."""
        self._tries = 1
        self._tried_at = now
