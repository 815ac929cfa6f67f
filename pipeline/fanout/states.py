"""The conversations of one partition, each in its state before the next message.

A state comes from the stored events and from those the log holds but persistence has not stored
yet; from then on every event that passes is folded in. The history may be ahead of this worker:
stored events with a later seq than the message at hand are left for when they come by.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from infra.ports import HistoryStore, Record
from schemas.codec import MESSAGE
from schemas.conversation import ConversationState, GroupEvent, MemberEvent, fold, parse_event
from schemas.errors import BadInput, Undecodable
from schemas.records import Kind

__all__ = ["FanoutStates"]

_LOADED = 20_000
_LOOKUPS = 64
_NOTED = 10_000

Event = tuple[int, Kind, str]


class FanoutStates:
    """Loads on first need, keeps the most recently used conversations.

    Events are kept beside the states until a reload finds them stored, so forgetting a state never
    loses an event.
    """

    def __init__(self, history: HistoryStore) -> None:
        self._history = history
        self._states: OrderedDict[str, ConversationState] = OrderedDict()
        self._stored: dict[str, list[Event]] = {}
        self._unstored: dict[str, dict[int, Event]] = {}

    def note(self, record: Record) -> GroupEvent | MemberEvent:
        """A membership event that the log holds and the history may not. Raises `Undecodable`."""
        message = MESSAGE.decode(record.value)
        event = parse_event(message.kind, message.content)
        noted = self._unstored.setdefault(message.conversation_id, {})
        noted[message.seq] = (message.seq, message.kind, message.content)
        return event

    async def load(self, conversation_ids: set[str]) -> None:
        """Read the stored events of conversations that `before` will be asked for next."""
        self._stored.clear()
        missing = [c for c in conversation_ids if c not in self._states]
        for conversation_id in conversation_ids.difference(missing):
            self._states.move_to_end(conversation_id)
        if len(self._unstored) > _NOTED:
            missing += [c for c in list(self._unstored)[:_LOOKUPS] if c not in conversation_ids]
        turn = asyncio.Semaphore(_LOOKUPS)

        async def read(conversation_id: str) -> None:
            async with turn:
                events = await self._history.events(conversation_id)
            self._stored[conversation_id] = [(e.seq, e.kind, e.content) for e in events]
            self._drop_noted(conversation_id, events[-1].seq if events else 0)

        await asyncio.gather(*(read(c) for c in missing))

    def before(self, conversation_id: str, seq: int) -> ConversationState:
        """The state that the message with this seq finds. Raises `Undecodable` for an id out of shape.

        If the message is an event, the caller notes it and folds it in.
        """
        state = self._states.get(conversation_id)
        if state is None:
            state = self._build(conversation_id, seq)
            self._states[conversation_id] = state
            if len(self._states) > _LOADED:
                self._states.popitem(last=False)
        else:
            self._states.move_to_end(conversation_id)
        return state

    def members(self, conversation_id: str) -> Sequence[str]:
        """Who is inside now, of a conversation whose state is loaded."""
        state = self._states.get(conversation_id)
        return state.inside() if state is not None else ()

    def _drop_noted(self, conversation_id: str, stored_seq: int) -> None:
        """What is stored needs no note."""
        noted = self._unstored.pop(conversation_id, {})
        left = {seq: event for seq, event in noted.items() if seq > stored_seq}
        if left:
            self._unstored[conversation_id] = left

    def _build(self, conversation_id: str, before_seq: int) -> ConversationState:
        noted = self._unstored.get(conversation_id, {})
        events = (*self._stored.get(conversation_id, ()), *(noted[seq] for seq in sorted(noted)))
        try:
            return fold(conversation_id, [event for event in events if event[0] < before_seq])
        except BadInput as error:
            raise Undecodable(str(error)) from error
