"""Answers to `sync`: everything since a token, or everything, page by page.

A token says "the client has every message with sent_at_ms below this". A sync reads, in this
order, how far fan-out and persistence have got (its target), which conversations changed, and
their messages; so nothing below the target can be missing, and the target is the next token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.conversation_view import ConversationView, View
from gateway.history import row_bytes
from gateway.inbox import InboxReader
from gateway.progress import Progress
from gateway.pulse import SYNC_STAGES
from gateway.sync_token import Place, SyncToken, parse_token, places
from gateway.wire import message_frame
from infra.clock import Clock
from infra.ports import RouteTable
from schemas.frames import Page, Sync

__all__ = ["SyncService"]

PAGE_CONVERSATIONS: Final = 20
PAGE_MESSAGES: Final = 500
_FUTURE_MS: Final = 60_000
"""A token from later than this is none of this history: the data was set back."""


class _Paging(msgspec.Struct, frozen=True):
    """A sync under way in this session: what is left of it, worked out once."""

    since_ms: int | None
    target_ms: int
    rest: list[Place]
    reset: bool

    @property
    def token(self) -> str:
        """What the client shows for the next page."""
        if not self.rest:
            return str(SyncToken(self.target_ms))
        return str(SyncToken(self.since_ms, self.target_ms, self.rest[0], self.reset))


class SyncService:
    """Makes pages. Cost: that of the conversations in the page, whatever their length.

    A page holds at most `PAGE_CONVERSATIONS`, `PAGE_MESSAGES` and `page_bytes`. A paging token is good
    anywhere; the session that got it remembers what it stands for, and saves one call.
    """

    def __init__(
        self,
        routes: RouteTable,
        inbox: InboxReader,
        view: ConversationView,
        clock: Clock,
        partitions: int,
        page_bytes: int,
    ) -> None:
        self._routes = routes
        self._inbox = inbox
        self._view = view
        self._clock = clock
        self._partitions = partitions
        self._page_bytes = page_bytes

    async def page(self, user_id: str, ask: Sync, progress: Progress, text: bool) -> Page:
        """The next page. Raises `Unavailable`; then the same request may be made again."""
        paging = progress.paging
        if not isinstance(paging, _Paging) or ask.token != paging.token:
            paging = await self._begin(user_id, ask.token)
            progress.came_with(paging.since_ms)
            progress.lost_at_ms = max(progress.lost_at_ms, self._inbox.lost_at_ms(user_id))
        batch, views = await self._load(user_id, paging, ask.limit)
        rest, chosen = self._fill(batch, views)
        rest += paging.rest[len(batch) :]
        paging = msgspec.structs.replace(paging, rest=rest)
        progress.paging = paging if rest else None
        if not rest:
            progress.synced(paging.target_ms)
        return Page(
            messages=[message_frame(row, text) for view in chosen for row in view.rows],
            conversations=[view.frame(text) for view in chosen if view.is_whole],
            token=paging.token,
            more=bool(rest),
            reset=paging.reset,
            until_ms=paging.target_ms,
            re=ask.id,
        )

    async def _begin(self, user_id: str, text: str | None) -> _Paging:
        reached_ms = await self._routes.watermark(SYNC_STAGES, self._partitions)
        token = parse_token(text) if text else SyncToken(None)
        latest_ms = self._clock.now_ms() + _FUTURE_MS
        if token is None or max(token.since_ms or 0, token.target_ms) > latest_ms:
            token = SyncToken(None, reset=True)
        changed = await self._inbox.changed(user_id, token.since_ms or 0, reached_ms)
        target_ms = token.target_ms if token.place else max(reached_ms, token.since_ms or 0)
        return _Paging(token.since_ms, target_ms, places(changed, token), token.reset)

    async def _load(self, user_id: str, paging: _Paging, limit: int) -> tuple[list[Place], list[View | None]]:
        batch = paging.rest[:PAGE_CONVERSATIONS]
        if not batch:
            return [], []
        cursors = asyncio.ensure_future(self._view.cursors(user_id))
        views = asyncio.gather(
            *(
                self._view.load(user_id, place, paging.since_ms, paging.target_ms, limit, cursors)
                for place in batch
            )
        )
        await asyncio.gather(cursors, views)
        return batch, views.result()

    def _fill(self, batch: Sequence[Place], views: Sequence[View | None]) -> tuple[list[Place], list[View]]:
        """What goes into this page, and what of the batch is left for the next one."""
        room_bytes, room = self._page_bytes, PAGE_MESSAGES
        chosen: list[View] = []
        for index, (place, view) in enumerate(zip(batch, views, strict=True)):
            if view is None:
                continue
            taken = 0
            for row in view.rows[:room]:
                if room_bytes < row_bytes(row) and (chosen or taken):
                    break
                room_bytes -= row_bytes(row)
                taken += 1
            room -= taken
            if taken == len(view.rows):
                chosen.append(view)
                continue
            left = [place, *batch[index + 1 :]]
            if taken:
                chosen.append(view.first(taken))
                left[0] = msgspec.structs.replace(place, after_seq=view.rows[taken - 1].seq)
            return left, chosen
        return [], chosen
