"""Whether messages reached their members: cursors against routes, for the heads of conversations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import msgspec

from infra.ports import HistoryStore, RouteTable
from infra.together import look_up
from pipeline.ops.accounts.arrival import Arrival, Said, Standing, arrival_of
from pipeline.states import ANY_POSITION, ConversationStates, by_seq
from schemas.conversation import ConversationState
from schemas.errors import BadInput
from schemas.ids import conversation_kind
from schemas.tables import Cursor

__all__ = ["Deliveries", "Delivery", "folded"]


class Delivery(msgspec.Struct, frozen=True):
    """One member and the newest message of a conversation, which he has, or why not."""

    conversation_id: str
    seq: int
    arrival: Arrival


class Deliveries:
    """Asks for the head only: an ack of a seq says that everything before it came too."""

    def __init__(self, history: HistoryStore, routes: RouteTable, grace_ms: int) -> None:
        self._history = history
        self._routes = routes
        self._grace_ms = grace_ms

    async def check(self, heads: Mapping[str, Said], now_ms: int, limit: int) -> tuple[list[Delivery], int]:
        """Up to `limit` members of these conversations, and how many more there are. Raises `Unavailable`."""
        states = await folded(self._history, heads)
        pairs = [(c, user_id) for c, said in heads.items() for user_id in _readers(states.get(c), said.seq)]
        asked, left = pairs[:limit], max(0, len(pairs) - limit)
        users = list(dict.fromkeys(user_id for _, user_id in asked))
        # Routes first: who acks and leaves meanwhile counts as waiting, never as overdue.
        routes = await self._routes.routes_of(users)
        cursors: Mapping[str, Mapping[str, Cursor]] = await look_up(users, self._history.cursors)
        found = []
        for c, user_id in asked:
            cursor = cursors[user_id].get(c, Cursor())
            standing = Standing(user_id, states[c].members[user_id], cursor, routes.get(user_id, ()))
            found.append(Delivery(c, heads[c].seq, arrival_of(heads[c], standing, now_ms, self._grace_ms)))
        return found, left


async def folded(history: HistoryStore, conversation_ids: Iterable[str]) -> dict[str, ConversationState]:
    """The states after every stored event; ids that name no conversation are left out."""
    valid = []
    for conversation_id in conversation_ids:
        with suppress(BadInput):
            conversation_kind(conversation_id)
            valid.append(conversation_id)
    states = ConversationStates(history, by_seq)
    await states.load(dict.fromkeys(valid, ANY_POSITION))
    return {conversation_id: states[conversation_id] for conversation_id in valid}


def _readers(state: ConversationState | None, seq: int) -> Sequence[str]:
    """Who is to have this message and is inside still."""
    if state is None:
        return ()
    return [user_id for user_id, member in state.members.items() if member.inside and member.saw(seq)]
