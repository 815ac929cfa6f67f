"""Who may read what: decided by the membership events in the conversation itself."""

from __future__ import annotations

from infra.ports import HistoryStore
from schemas.codes import Code
from schemas.conversation import ConversationState, fold
from schemas.errors import Refused
from schemas.ids import conversation_kind

__all__ = [
    "conversation_state",
    "readable_after",
    "readable_before",
    "require_member",
    "require_reader",
    "state_with_blocks",
]


async def conversation_state(history: HistoryStore, conversation_id: str) -> ConversationState:
    """The state by every event stored. Read after a page, it covers the page: events are stored first."""
    if conversation_kind(conversation_id) == "direct":
        return ConversationState.new(conversation_id)
    return await state_with_blocks(history, conversation_id)


async def state_with_blocks(history: HistoryStore, conversation_id: str) -> ConversationState:
    """The same, and of a direct conversation also who has blocked whom, which reading need not know."""
    events = await history.events(conversation_id)
    return fold(conversation_id, [(e.seq, e.kind, e.content) for e in events])


def require_reader(state: ConversationState, user_id: str) -> None:
    """Raises `Refused` for who never was a member: to him it does not exist."""
    if not state.was_member(user_id):
        raise Refused(Code.NO_SUCH_CONVERSATION)


def require_member(state: ConversationState, user_id: str) -> None:
    """Raises `Refused` for who is no member now."""
    require_reader(state, user_id)
    if not state.is_member(user_id):
        raise Refused(Code.NOT_A_MEMBER)


def readable_before(state: ConversationState, user_id: str, seq: int) -> int | None:
    """Where to page backwards from for what this user may read below `seq`; None: nothing is left."""
    spans = [(joined, left) for joined, left in state.members[user_id].spans if joined < seq]
    if not spans:
        return None
    _, left = spans[-1]
    return seq if left == 0 else min(seq, left + 1)


def readable_after(state: ConversationState, user_id: str, seq: int) -> int | None:
    """Where to page forwards from for what this user may read above `seq`; None: nothing is left."""
    for joined, left in state.members[user_id].spans:
        if left == 0 or left > seq:
            return max(seq, joined - 1)
    return None
