"""Who may move a cursor in a conversation, and who hears of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from infra.ports import HistoryStore
from pipeline.states import ANY_POSITION, ConversationStates, by_seq
from schemas.ids import conversation_kind, direct_users
from schemas.records import Receipt

__all__ = ["Audience"]

_FRESH_S: Final = 5.0
_CAPACITY: Final = 50_000


class Audience:
    """Members of groups as the history has them, at most 5 s old; a direct conversation has its two users.

    Receipts run beside the stream of messages, so a member who joined just now may be unknown for the
    time it takes to store the event. His receipt is dropped then; the next one says more anyway. Groups
    of more than `max_members`, and channels, keep cursors, but nobody hears of them: each would go to all
    the others.
    """

    def __init__(self, history: HistoryStore, max_members: int) -> None:
        self._max_members = max_members
        self._states = ConversationStates(history, by_seq, _CAPACITY)
        self._read_at: dict[str, float] = {}

    async def load(self, receipts: Iterable[Receipt], now: float) -> None:
        """Make present what `listeners` needs for these. `now` in monotonic seconds. Raises `Unavailable`."""
        groups = [r for r in receipts if conversation_kind(r.conversation_id) != "direct"]
        await self._refresh({r.conversation_id for r in groups}, now, _FRESH_S)
        unknown = {r.conversation_id for r in groups if self.listeners(r) is None}
        await self._refresh(unknown, now, 0.0)

    def listeners(self, receipt: Receipt) -> Sequence[str] | None:
        """The users who hear of this cursor, its own user not among them; None: it is no member's.

        Who left keeps what he saw while inside, also if he says so late; nobody hears of it.
        """
        if conversation_kind(receipt.conversation_id) == "direct":
            users = direct_users(receipt.conversation_id)
            return [u for u in users if u != receipt.user_id] if receipt.user_id in users else None
        state = self._states[receipt.conversation_id]
        member = state.members.get(receipt.user_id)
        if member is None:
            return None
        if not member.inside:
            return () if member.saw(max(receipt.delivered_seq, receipt.read_seq)) else None
        if state.kind == "channel" or state.inside_count > self._max_members:
            return ()
        return [user_id for user_id in state.inside() if user_id != receipt.user_id]

    async def _refresh(self, conversation_ids: set[str], now: float, max_age_s: float) -> None:
        if not conversation_ids:
            return
        stale = [c for c in sorted(conversation_ids) if now - self._read_at.get(c, -_FRESH_S) > max_age_s]
        self._states.forget(stale)
        await self._states.load(dict.fromkeys(sorted(conversation_ids), ANY_POSITION))
        self._read_at.update(dict.fromkeys(stale, now))
        if len(self._read_at) > 2 * len(self._states):
            self._read_at = {c: at for c, at in self._read_at.items() if c in self._states}
