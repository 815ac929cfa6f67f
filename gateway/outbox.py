"""What one connection has yet to write: joined into one write a turn, and never more than a bound."""

from __future__ import annotations

__all__ = ["Outbox"]


class Outbox:
    """Frames of one loop turn, in order.

    `congested` is set while the socket holds more than half of the bound unsent: then ephemeral
    frames are dropped. Durable frames are never dropped: who reads so slowly that the bound is
    reached is closed with 4001 and syncs when it comes back.
    """

    __slots__ = ("_frames", "_size_bytes", "congested")

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._size_bytes = 0
        self.congested = False

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._size_bytes += len(frame)

    def take(self) -> bytes:
        """Everything put since the last call, as one piece."""
        frames = self._frames
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        frames.clear()
        self._size_bytes = 0
        return data
