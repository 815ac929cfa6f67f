"""What a session may have missed when the route table was lost: read from the history instead."""

from __future__ import annotations

from typing import Final

from gateway.progress import MAX_HEADS
from infra.ports import HistoryStore
from infra.together import look_up

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
        memberships = {m.conversation_id: m for m in await self._history.conversations(user_id)}
        heads = await look_up(memberships, self._history.head, _PARALLEL)
        found = [(head.at_ms, c, head.seq) for c, head in heads.items() if head and head.at_ms >= since_ms]
        newest = sorted(found, reverse=True)[:MAX_HEADS]
        return {c: memberships[c].left_seq or seq for _, c, seq in newest}
