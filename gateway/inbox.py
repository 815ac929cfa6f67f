"""Which conversations changed for a user: from the index in the route table, or rebuilt from the history."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from infra.clock import Clock
from infra.ports import HistoryStore, RouteTable
from infra.together import look_up

__all__ = ["InboxReader"]

_MAX_REBUILDING: Final = 10_000
_PARALLEL: Final = 16


class InboxReader:
    """Reads the inbox index; a lost one is restored from the history.

    A restored index is called complete only when everything that may have been in it before the
    loss can be read: when fan-out and persistence have passed the moment the loss was first seen.
    """

    def __init__(self, routes: RouteTable, history: HistoryStore, clock: Clock) -> None:
        self._routes = routes
        self._history = history
        self._clock = clock
        self._lost_at_ms: OrderedDict[str, int] = OrderedDict()

    async def changed(self, user_id: str, since_ms: int, target_ms: int) -> dict[str, int]:
        """conversation → sent_at_ms of its newest message, for those with one at or after `since_ms`.

        `target_ms`: how far the stages had got before this was called.
        """
        inbox = await self._routes.inbox(user_id, since_ms)
        changed = dict(inbox.changed)
        if not inbox.complete:
            changed.update(await self._rebuild(user_id, target_ms))
        changed.update(await self._newest(inbox.large))
        return {c: at_ms for c, at_ms in changed.items() if at_ms >= since_ms}

    def lost_at_ms(self, user_id: str) -> int:
        """When this user's index was first found lost; 0: what was changed is told without a gap."""
        return self._lost_at_ms.get(user_id, 0)

    def forget_losses(self) -> None:
        """The table was lost, maybe anew: what was restored since an earlier loss is gone with it."""
        self._lost_at_ms.clear()

    async def _rebuild(self, user_id: str, target_ms: int) -> dict[str, int]:
        lost_at_ms = self._lost_at_ms.setdefault(user_id, self._clock.now_ms())
        if len(self._lost_at_ms) > _MAX_REBUILDING:
            self._lost_at_ms.popitem(last=False)
        memberships = await self._history.conversations(user_id)
        changed = await self._stored([m.conversation_id for m in memberships])
        complete = target_ms > lost_at_ms
        await self._routes.restore_inbox(user_id, changed, complete)
        if complete:
            self._lost_at_ms.pop(user_id, None)
        return changed

    async def _newest(self, conversation_ids: list[str]) -> dict[str, int]:
        if not conversation_ids:
            return {}
        heads = await self._routes.heads(conversation_ids)
        unknown = [c for c in conversation_ids if c not in heads]
        return {c: head.at_ms for c, head in heads.items()} | await self._stored(unknown)

    async def _stored(self, conversation_ids: list[str]) -> dict[str, int]:
        heads = await look_up(conversation_ids, self._history.head, _PARALLEL)
        return {c: head.at_ms for c, head in heads.items() if head is not None}
