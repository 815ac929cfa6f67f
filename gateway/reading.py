"""`read` and `read_all`: checked, then given to the receipts."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from gateway.inbox import InboxReader
from gateway.receipts import Receipts
from gateway.requests import check_conversation
from gateway.rights import conversation_state, require_reader
from infra.ports import HistoryStore, RouteTable
from schemas.frames import Ok, Read, ReadAll

__all__ = ["Reading"]

_KNOWN_READERS: Final = 20_000


class Reading:
    """Moves read cursors, only in conversations the user is or was in, and never past their head.

    Who was found in a conversation once is not looked up again (bounded): a stranger gets 1103, and
    an ex-member's cursor harms nobody.
    """

    def __init__(
        self, routes: RouteTable, history: HistoryStore, inbox: InboxReader, receipts: Receipts
    ) -> None:
        self._routes = routes
        self._history = history
        self._inbox = inbox
        self._receipts = receipts
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def read(self, user_id: str, session_id: str, ask: Read) -> None:
        """Raises `Refused` for a conversation of others, and `Unavailable`."""
        conversation_id = ask.conversation_id
        check_conversation(conversation_id, user_id)
        await self._check_reader(user_id, conversation_id)
        heads = await self._routes.heads([conversation_id])
        head = heads.get(conversation_id) or await self._history.head(conversation_id)
        if head is not None:
            self._receipts.read(user_id, session_id, conversation_id, min(ask.seq, head.seq))

    async def read_all(self, user_id: str, session_id: str, ask: ReadAll) -> Ok:
        """Every conversation is read up to its head as it stands."""
        changed = list(await self._inbox.changed(user_id, 0, 0))
        heads = await self._routes.heads(changed)
        for conversation_id in changed:
            head = heads.get(conversation_id) or await self._history.head(conversation_id)
            if head is not None:
                self._receipts.read(user_id, session_id, conversation_id, head.seq)
        return Ok(re=ask.id)

    async def _check_reader(self, user_id: str, conversation_id: str) -> None:
        key = (user_id, conversation_id)
        if key in self._known:
            self._known.move_to_end(key)
            return
        require_reader(await conversation_state(self._history, conversation_id), user_id)
        self._known[key] = None
        if len(self._known) > _KNOWN_READERS:
            self._known.popitem(last=False)
