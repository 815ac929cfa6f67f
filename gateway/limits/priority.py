"""Which traffic goes first when there is not enough for all. Pure."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = ["PRIORITIES", "Priority", "priority_of"]


class Priority(IntEnum):
    """The lower the number, the more important."""

    CONTROL = 0
    """Changes of groups, blocks: without them nobody could stop what floods."""
    DIRECT = 1
    GROUP = 2
    CHANNEL = 3
    BROADCAST = 4


PRIORITIES: Final = len(Priority)
_OF: Final = {"d:": Priority.DIRECT, "g:": Priority.GROUP, "c:": Priority.CHANNEL}


def priority_of(conversation_id: str) -> Priority:
    """The priority of what is said in this conversation; of an id that is none, the lowest of them."""
    return _OF.get(conversation_id[:2], Priority.CHANNEL)
