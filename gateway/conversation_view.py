"""One conversation as one user sees it: its row in the list, and what is new in it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

import msgspec

from gateway.holes import newest_up_to_hole, up_to_hole
from gateway.rights import conversation_state
from gateway.sync_token import Place
from gateway.unread import UNREAD_SCAN, count_unread
from gateway.wire import message_frame
from infra.ports import HistoryStore
from infra.together import together
from schemas.conversation import ConversationState
from schemas.frames import Conversation
from schemas.ids import conversation_kind, direct_users
from schemas.tables import Cursor, HistoryRow

__all__ = ["MAX_NEW_MESSAGES", "ConversationView", "View"]

MAX_NEW_MESSAGES: Final = 1_000
"""More than this since the token: only the newest `limit` are sent, and the client fills the hole."""
_FORWARD_ROWS: Final = 501
"""One more than a page takes, so that a page never ends a conversation that goes on."""
_NO_CURSOR: Final = Cursor()


class View(msgspec.Struct, frozen=True):
    """Messages to send, oldest first, and the conversation's row. `is_whole`: they are not continued."""

    rows: list[HistoryRow]
    row: Conversation
    newest: HistoryRow | None
    is_whole: bool = True

    def first(self, count: int) -> View:
        """Only the first messages; the rest comes with a later page, and the row with it."""
        return View(self.rows[:count], self.row, self.newest, False)

    def frame(self, text: bool) -> Conversation:
        if self.newest is None:
            return self.row
        return msgspec.structs.replace(self.row, last_message=message_frame(self.newest, text))


class ConversationView:
    """Loads views from the history. Cost: a few reads a conversation, whatever its length."""

    def __init__(self, history: HistoryStore) -> None:
        self._history = history

    async def cursors(self, user_id: str) -> dict[str, Cursor]:
        return await self._history.cursors(user_id)

    async def load(
        self,
        user_id: str,
        place: Place,
        since_ms: int | None,
        target_ms: int,
        limit: int,
        cursors: Awaitable[Mapping[str, Cursor]],
    ) -> View | None:
        """What is new for this user in the conversation of a place; None if that is nothing.

        `since_ms` None: the newest `limit` messages. `target_ms`: all before it can be read; of what came
        later only what has nothing missing before it is shown. `cursors`: the user's own, which may be on
        their way.
        """
        conversation_id, after_seq = place.conversation_id, place.after_seq
        newest, peer = await together(
            self._newest(conversation_id, since_ms, target_ms, limit),
            self._peer_cursor(user_id, conversation_id),
        )
        if not newest:
            return None
        if after_seq is not None:
            further = await self._history.page(conversation_id, after_seq=after_seq, limit=_FORWARD_ROWS)
            rows = list(up_to_hole(further, after_seq, target_ms))
        elif since_ms is not None and len(newest) <= MAX_NEW_MESSAGES:
            rows = [r for r in reversed(newest) if r.sent_at_ms >= since_ms]
        else:
            rows = list(newest[limit - 1 :: -1] if len(newest) >= limit else newest[::-1])
        # After the messages: who has left since then must not see what was said since then.
        state = await conversation_state(self._history, conversation_id)
        member = state.members.get(user_id)
        if member is None or (since_ms is None and not member.inside):
            return None
        rows = [r for r in rows if member.saw(r.seq)]
        if not rows and since_ms is not None:
            return None
        visible = [r for r in newest if member.saw(r.seq)]
        cursor = (await cursors).get(conversation_id, _NO_CURSOR)
        row = await self._row(user_id, state, visible, cursor, peer)
        return View(rows, row, visible[0] if visible else None)

    async def _newest(
        self, conversation_id: str, since_ms: int | None, target_ms: int, limit: int
    ) -> Sequence[HistoryRow]:
        """Newest first: `limit` messages, or all since the token, but one more than may be sent at most."""
        rows = await self._history.page(conversation_id, limit=limit)
        size, is_all = limit, len(rows) < limit
        while since_ms is not None and not is_all and len(rows) <= MAX_NEW_MESSAGES:
            if rows[-1].seq == 1 or rows[-1].sent_at_ms < since_ms:
                break
            size = min(4 * size, MAX_NEW_MESSAGES + 1 - len(rows))
            older = await self._history.page(conversation_id, before_seq=rows[-1].seq, limit=size)
            rows += older
            is_all = len(older) < size
        return newest_up_to_hole(rows, is_all, target_ms)

    async def _row(
        self,
        user_id: str,
        state: ConversationState,
        visible: list[HistoryRow],
        cursor: Cursor,
        peer: Cursor | None,
    ) -> Conversation:
        member = state.members[user_id]
        floor = max(cursor.read_seq, member.joined)
        scanned = visible
        if visible and visible[-1].seq > floor + 1 and len(visible) < UNREAD_SCAN:
            room = min(UNREAD_SCAN - len(visible), visible[-1].seq - 1 - floor)
            scanned = visible + await self._history.page(
                state.conversation_id, before_seq=visible[-1].seq, limit=room
            )
        unread = count_unread(scanned, floor, user_id)
        is_group = state.kind != "direct"
        return Conversation(
            conversation_id=state.conversation_id,
            kind=state.kind,
            head=visible[0].seq if visible else 0,
            read_seq=cursor.read_seq,
            unread=unread.count,
            mentioned=unread.mentioned,
            muted=cursor.muted,
            name=state.name if is_group else None,
            members=state.inside_count if is_group else None,
            delivered_seq=peer.delivered_seq if peer else None,
            peer_read_seq=peer.read_seq if peer else None,
        )

    async def _peer_cursor(self, user_id: str, conversation_id: str) -> Cursor | None:
        if conversation_kind(conversation_id) != "direct":
            return None
        peer = next(u for u in direct_users(conversation_id) if u != user_id)
        return (await self._history.cursors(peer, [conversation_id])).get(conversation_id, _NO_CURSOR)
