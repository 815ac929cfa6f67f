"""The conversation states one partition needs, read from the history when first asked for.

Moderation and fan-out use the same class with different positions (`by_source_offset`, `by_seq`):
each runs ahead of what is stored, or behind it, by its own distance.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from infra.ports import HistoryStore
from infra.together import look_up
from schemas.conversation import ConversationState, parse_event
from schemas.errors import Undecodable
from schemas.tables import StoredEvent

__all__ = ["ANY_POSITION", "ConversationStates", "by_seq", "by_source_offset"]

log = structlog.get_logger(__name__)

T = TypeVar("T")
K = TypeVar("K")

ANY_POSITION: Final = 2**63
"""Later than every event: the stage runs ahead of the history."""
_FIXED_WEIGHT: Final = 4
"""What a state weighs beside its members, in members (0.3 KiB each)."""


def by_seq(event: StoredEvent) -> int:
    """Positions of stages that read im.messages."""
    return event.seq


def by_source_offset(event: StoredEvent) -> int:
    """Positions of moderation, which runs before there is a seq: offsets of im.accepted, from 1 on."""
    return event.source_offset + 1


@dataclass(slots=True)
class _Held:
    """A state, how many events it has taken, and how many of them are known to be stored."""

    state: ConversationState
    taken: int
    stored: int
    weight: int


class ConversationStates:
    """States by conversation id: the stored events, with what was recalled from the log on top.

    The owner applies every later event to the state it finds here and says so (`changed`). A state
    with events that the history may not hold yet stays in memory; the others make room, those that
    were not asked for longest first, once all together weigh more than `capacity` members.
    """

    def __init__(
        self,
        history: HistoryStore,
        position_of: Callable[[StoredEvent], int],
        capacity: int = 200_000,
    ) -> None:
        self._history = history
        self._position_of = position_of
        self._capacity = capacity
        self._weight = 0
        self._held: dict[str, _Held] = {}
        self._recalled: dict[str, dict[int, StoredEvent]] = {}

    def recall(self, conversation_id: str, event: StoredEvent) -> None:
        """Take an event from the tail of the log, before its conversation is loaded for the first time."""
        self._recalled.setdefault(conversation_id, {})[self._position_of(event)] = event

    async def load(self, first: Mapping[str, int]) -> None:
        """Make these conversations present, each with the events before the given position.

        The position is that of the first record that will be handled: what the history knows beyond
        it is yet to come. A conversation that is present already is left as it is. Ids must have been
        checked. Raises `Unavailable`; may be called again then.
        """
        missing = [c for c in first if c not in self._held]
        if missing:
            found = await look_up(missing, self._history.events)
            for conversation_id, stored in found.items():
                self._install(conversation_id, stored, first[conversation_id])
        for conversation_id in first:
            self._held[conversation_id] = self._held.pop(conversation_id)
        if self._weight > self._capacity:
            await self._make_room(first.keys())

    def __getitem__(self, conversation_id: str) -> ConversationState:
        return self._held[conversation_id].state

    def changed(self, conversation_id: str) -> None:
        """The owner has applied one more event to this conversation's state."""
        held = self._held[conversation_id]
        held.taken += 1
        self._weigh(held)

    def forget(self, conversation_ids: Iterable[str]) -> None:
        """Drop states whatever they hold, so that `load` reads them anew."""
        for conversation_id in conversation_ids:
            held = self._held.pop(conversation_id, None)
            if held is not None:
                self._weight -= held.weight

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, conversation_id: object) -> bool:
        return conversation_id in self._held

    def _install(self, conversation_id: str, stored: list[StoredEvent], before: int) -> None:
        events = {self._position_of(event): event for event in stored}
        events = {position: event for position, event in events.items() if position < before}
        stored_count = len(events)
        events.update(self._recalled.pop(conversation_id, {}))
        held = _Held(_fold(conversation_id, events), len(events), stored_count, 0)
        self._held[conversation_id] = held
        self._weigh(held)

    def _weigh(self, held: _Held) -> None:
        weight = _FIXED_WEIGHT + len(held.state.members)
        self._weight += weight - held.weight
        held.weight = weight

    async def _make_room(self, in_use: Collection[str]) -> None:
        """Drop what is stored among the longest unasked for, down to 15/16 of the capacity."""
        excess = self._weight - self._capacity + self._capacity // 16
        stale: dict[str, _Held] = {}
        for conversation_id, held in self._held.items():
            if excess <= 0:
                break
            if conversation_id not in in_use:
                stale[conversation_id] = held
                excess -= held.weight
        unsure = [c for c, held in stale.items() if held.taken > held.stored]
        for conversation_id, events in (await look_up(unsure, self._history.events)).items():
            stale[conversation_id].stored = len(events)
        self.forget(c for c, held in stale.items() if held.taken <= held.stored)


def _fold(conversation_id: str, events: Mapping[int, StoredEvent]) -> ConversationState:
    state = ConversationState.new(conversation_id)
    for position in sorted(events):
        event = events[position]
        try:
            state.apply(parse_event(event.kind, event.content), position)
        except Undecodable as error:
            # Moderation lets none through; one bad row must not stop a whole partition.
            log.error("states.bad_event", conversation=conversation_id, position=position, error=str(error))
    return state
