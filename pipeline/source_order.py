"""The one rule by which every reader drops repeats: the source offset must rise.

Each stage stamps what it writes with the offset of what it was made from. A stage that restarts,
or wakes up after it was replaced, writes records it has written before; their source offsets do
not rise, and whoever reads drops them. So a repeat costs a comparison, not a lookup.
"""

from __future__ import annotations

__all__ = ["SourceOrder"]


class SourceOrder:
    """The highest source offset seen in each partition."""

    def __init__(self) -> None:
        self._last: dict[int, int] = {}

    def is_repeat(self, partition: int, source_offset: int) -> bool:
        """Whether this record was seen before; if not, remember it."""
        if source_offset <= self._last.get(partition, -1):
            return True
        self._last[partition] = source_offset
        return False

    def resume(self, partition: int, source_offset: int) -> None:
        """Start after this offset."""
        self._last[partition] = source_offset

    def last(self, partition: int) -> int:
        """The highest offset seen; -1 if none."""
        return self._last.get(partition, -1)

    def forget(self, partition: int) -> None:
        self._last.pop(partition, None)
