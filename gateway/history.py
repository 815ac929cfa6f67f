"""Pages of a conversation, as far as the one who asks may read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec

from gateway.holes import newest_up_to_hole, up_to_hole
from gateway.moments import seq_at
from gateway.requests import check_conversation
from gateway.rights import conversation_state, readable_after, readable_before, require_reader
from gateway.wire import message_frame
from infra.ports import HistoryStore
from schemas.conversation import ConversationState
from schemas.frames import History, HistoryPage
from schemas.tables import HistoryRow

__all__ = ["HistoryService", "Period", "row_bytes", "within_bytes"]

_MAX_JUMPS: Final = 8
"""Stays that one page may step over; a user with more gets an empty page that says there is more."""
_ROW_OVERHEAD_BYTES: Final = 256
Moment = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


def row_bytes(row: HistoryRow) -> int:
    """About what a row costs in a frame."""
    return len(row.content) + _ROW_OVERHEAD_BYTES


def within_bytes(rows: Sequence[HistoryRow], limit_bytes: int) -> int:
    """How many of these rows fit; at least one, if there is one."""
    total = 0
    for count, row in enumerate(rows):
        total += row_bytes(row)
        if total > limit_bytes and count:
            return count
    return len(rows)


class Period(msgspec.Struct, frozen=True):
    """From a moment on, up to before another one (ms)."""

    from_ms: Moment | None = msgspec.field(default=None, name="from")
    to_ms: Moment | None = msgspec.field(default=None, name="to")


_ALWAYS: Final = Period()


class HistoryService:
    """Answers `history`. A page is bounded in messages and in bytes; `more` says whether another exists.

    What is newer than `settled_ms` (everything before it is stored) is shown up to where one is missing.
    """

    def __init__(self, history: HistoryStore, settled_ms: Callable[[], int], page_bytes: int) -> None:
        self._history = history
        self._settled_ms = settled_ms
        self._page_bytes = page_bytes

    async def page(self, user_id: str, ask: History, text: bool, period: Period = _ALWAYS) -> HistoryPage:
        """The page, of this period only. Raises `Refused` (1103) for a conversation this user never was in,
        and `Unavailable`."""
        check_conversation(ask.conversation_id, user_id)
        first, end = await self._places(user_id, ask.conversation_id, period)
        if period.from_ms is not None and ask.before_seq is None:
            ask = msgspec.structs.replace(ask, after_seq=max(first - 1, ask.after_seq or 0))
        forwards = ask.after_seq is not None and ask.before_seq is None
        if end is not None and not forwards:
            ask = msgspec.structs.replace(ask, before_seq=min(end, ask.before_seq or end))
        found, more = await (self._after if forwards else self._before)(user_id, ask)
        rows = [row for row in found if row.seq >= first and (end is None or row.seq < end)]
        if rows:
            last = rows[-1].seq
            more = more and (end is None or last + 1 < end if forwards else last > first)
        else:
            more = more and not found
        fitting = within_bytes(rows, self._page_bytes)
        return HistoryPage(
            conversation_id=ask.conversation_id,
            messages=[message_frame(row, text) for row in rows[:fitting]],
            more=more or fitting < len(rows),
            re=ask.id,
        )

    async def _places(self, user_id: str, conversation_id: str, period: Period) -> tuple[int, int | None]:
        """The first seq of a period and the one behind its last (None: it is open)."""
        if period == _ALWAYS:
            return 1, None
        await self._state(conversation_id, user_id)
        first, end = 1, None
        if period.from_ms is not None:
            first = await seq_at(self._history, conversation_id, period.from_ms)
        if period.to_ms is not None:
            end = await seq_at(self._history, conversation_id, period.to_ms)
        return first, end

    async def _before(self, user_id: str, ask: History) -> tuple[list[HistoryRow], bool]:
        before = ask.before_seq
        for _ in range(_MAX_JUMPS):
            rows: Sequence[HistoryRow]
            rows = await self._history.page(ask.conversation_id, before_seq=before, limit=ask.limit)
            if before is None:
                rows = newest_up_to_hole(rows, len(rows) < ask.limit, self._settled_ms())
            state = await self._state(ask.conversation_id, user_id)
            seen = _seen(rows, state, user_id)
            if not rows:
                return [], False
            if seen:
                oldest = seen[-1].seq
                return seen, oldest > 1 and readable_before(state, user_id, oldest) is not None
            before = readable_before(state, user_id, rows[0].seq)
            if before is None:
                return [], False
        return [], True

    async def _after(self, user_id: str, ask: History) -> tuple[list[HistoryRow], bool]:
        after = ask.after_seq or 0
        for _ in range(_MAX_JUMPS):
            stored = await self._history.page(ask.conversation_id, after_seq=after, limit=ask.limit + 1)
            rows = up_to_hole(stored, after, self._settled_ms())
            page = rows[: ask.limit]
            state = await self._state(ask.conversation_id, user_id)
            seen = _seen(page, state, user_id)
            if not page:
                return [], False
            if seen:
                further = readable_after(state, user_id, seen[-1].seq) is not None
                return seen, further and len(rows) > ask.limit
            jump = readable_after(state, user_id, page[-1].seq)
            if jump is None:
                return [], False
            after = jump
        return [], True

    async def _state(self, conversation_id: str, user_id: str) -> ConversationState:
        state = await conversation_state(self._history, conversation_id)
        require_reader(state, user_id)
        return state


def _seen(rows: Sequence[HistoryRow], state: ConversationState, user_id: str) -> list[HistoryRow]:
    member = state.members[user_id]
    return [row for row in rows if member.saw(row.seq)]
