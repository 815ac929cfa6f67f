"""What a session may have missed when the route table was lost: read from the history instead."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.progress import MAX_HEADS
from infra.ports import Head, HistoryStore
from schemas.tables import Membership

__all__ = ["Missed"]

_PARALLEL: Final = 16


class Missed:
    """Finds heads without the table. Cost: one read for each conversation of the user.

    Deliveries that missed a session are shown to it by the heads of its pongs, and those are in the
    table, too: when it is emptied twice within a heartbeat, or right after a delivery was missed, nothing
    there tells of it any more.
    """

    def __init__(self, history: HistoryStore) -> None:
        self._history = history

    async def heads(self, user_id: str, since_ms: int) -> dict[str, int]:
        """conversation → newest seq this user may see, where something was said at or after this time.

        At most `MAX_HEADS`, the newest. Raises `Unavailable`.
        """
        found: list[tuple[Membership, Head]] = []
        memberships = await self._history.conversations(user_id)
        for start in range(0, len(memberships), _PARALLEL):
            part = memberships[start : start + _PARALLEL]
            heads = await asyncio.gather(*(self._history.head(m.conversation_id) for m in part))
            found += [(m, head) for m, head in zip(part, heads, strict=True) if head is not None]
        found = sorted((each for each in found if each[1].at_ms >= since_ms), key=lambda each: -each[1].at_ms)
        return {m.conversation_id: m.left_seq or head.seq for m, head in found[:MAX_HEADS]}
