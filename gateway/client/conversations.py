"""All conversations of a client: messages come out in order, holes are asked for or given up. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from gateway.client.events import Event, Gap, event_of_message
from gateway.client.repairs import Repairs
from gateway.client.timeline import Timeline
from schemas.frames import Message

__all__ = ["Conversations", "Hole"]

HELD_LIMIT: Final = 2_000
"""Messages that may wait behind one hole; beyond, the hole is given up."""

Hole = tuple[int, int] | None
"""The first and last missing seq; None: nothing of the conversation is known, its newest are missing."""


class Conversations:
    """Messages go in from deliveries, pages and histories; events come out, each message once, in order.

    Until `reached_level`, messages of unknown conversations wait for the sync to say where to begin.
    Holes of up to `max_fill` messages are asked for (`take_questions`); larger ones become a `Gap`.
    """

    def __init__(self, max_fill: int) -> None:
        self._max_fill = max_fill
        self._user_id = ""
        self._level = False
        self._complete = False
        self._known_ms = 0
        self._timelines: dict[str, Timeline] = {}
        self._repairs = Repairs()
        self._events: list[Event] = []

    def attach(self, user_id: str, level: bool) -> None:
        """A connection opened. `level`: it goes on where the last one ended, no sync is needed."""
        self._user_id = user_id
        self._level = level

    def detach(self, now: float) -> None:
        """The connection is gone, and with it every open question."""
        self._repairs.disconnected(now)

    def show(self, message: Message, now: float) -> None:
        """A message that was delivered, or an own one that got its place."""
        timeline = self._timeline(message.conversation_id)
        timeline.add(message)
        if self._level:
            self._begin(message.conversation_id, timeline)
        self._come_out(message.conversation_id, timeline, now)

    def show_synced(self, message: Message, now: float) -> None:
        """A message of a sync page: pages are in order, so an unknown conversation begins here.

        But when every conversation was told before, this one was not because its user had just left it: a
        page since then may show no more than the leave, and where it begins is for the history to say.
        """
        timeline = self._timeline(message.conversation_id)
        timeline.add(message)
        if self._complete:
            self._begin(message.conversation_id, timeline)
        elif timeline.level is None:
            timeline.level = message.seq - 1
        self._come_out(message.conversation_id, timeline, now)

    @property
    def whole(self) -> bool:
        """Whether everything that is known to exist has come out."""
        return self._level and not self._repairs

    def reached_level(self, complete: bool, known_ms: int, now: float) -> None:
        """What is from before the connection is here, so what came meanwhile can come out.

        `complete`: every conversation was told, so any other begins from here on. What was sent before
        `known_ms` came out in this run or in an earlier one.
        """
        self._level = True
        self._complete = self._complete or complete
        self._known_ms = max(self._known_ms, known_ms)
        for conversation_id, timeline in self._timelines.items():
            self._begin(conversation_id, timeline)
            self._come_out(conversation_id, timeline, now)

    def know_head(self, conversation_id: str, seq: int, now: float) -> None:
        """The conversation reaches up to `seq`: what is not here by then is asked for."""
        timeline = self._timeline(conversation_id)
        timeline.know_head(seq)
        if self._level:
            self._begin(conversation_id, timeline)
        self._come_out(conversation_id, timeline, now)

    def newest(self, conversation_id: str) -> int:
        """The highest seq that is known to exist; 0 while none is."""
        timeline = self._timelines.get(conversation_id)
        return timeline.newest if timeline is not None else 0

    def changed(self, conversation_id: str, newest: int, created: bool, now: float) -> None:
        """An own change of a group has its place, somewhere after what was the `newest` when it was asked.

        Its event is delivered as any other; if it is not here yet, it is asked for.
        """
        timeline = self._timeline(conversation_id)
        if created and timeline.level is None:
            timeline.level = 0
        self.know_head(conversation_id, newest + 1, now)

    def take_questions(self, now: float) -> Iterator[tuple[str, Hole]]:
        """What to ask the history for now; each question is answered by `filled`."""
        for conversation_id in self._repairs.take_due(now) if self._level else ():
            timeline = self._timelines[conversation_id]
            hole = timeline.hole
            if hole is not None and not timeline.outside and hole[1] - hole[0] >= self._max_fill:
                self._give_up(conversation_id, timeline, now)
            else:
                yield conversation_id, hole

    def filled(self, conversation_id: str, messages: Iterable[Message], now: float) -> None:
        """The answer to a question; nothing, if it was refused: what is new may not be stored yet."""
        timeline = self._timelines[conversation_id]
        found = list(messages)
        for message in found:
            timeline.add(message)
        if found:
            timeline.begin_after(0 if self._complete else self._known_ms)
            timeline.looked_up()
        self._come_out(conversation_id, timeline, now)
        if not timeline.missing:
            return
        empty = not found and (not timeline.outside or timeline.held_count > 0)
        if not self._repairs.answered(conversation_id, timeline.level, empty, now):
            self._give_up(conversation_id, timeline, now)

    def next_due(self) -> float | None:
        """When `take_questions` has something to ask."""
        return self._repairs.next_due() if self._level else None

    def take_events(self) -> list[Event]:
        """What came out since the last call."""
        taken, self._events = self._events, []
        return taken

    def _timeline(self, conversation_id: str) -> Timeline:
        timeline = self._timelines.get(conversation_id)
        if timeline is None:
            timeline = self._timelines[conversation_id] = Timeline(self._user_id)
        return timeline

    def _begin(self, conversation_id: str, timeline: Timeline) -> None:
        """Where an unknown conversation begins.

        With its first message, or, when every conversation was told and another one of two people is new,
        there. Else what it is seen by first may not be what was first in it for this user: the history is
        asked, and what it shows is new, but for what a run that began with a token knew by its last sync.
        """
        if not timeline.begin() and self._complete and conversation_id.startswith("d:"):
            timeline.level = 0

    def _come_out(self, conversation_id: str, timeline: Timeline, now: float) -> None:
        self._events.extend(map(event_of_message, timeline.take()))
        if timeline.held_count > HELD_LIMIT:
            self._give_up(conversation_id, timeline, now)
        elif timeline.level is None and timeline.held_count:
            self._repairs.unknown(conversation_id, now)
        elif timeline.missing:
            self._repairs.seen(conversation_id, timeline.level, now)
        else:
            self._repairs.closed(conversation_id)

    def _give_up(self, conversation_id: str, timeline: Timeline, now: float) -> None:
        if timeline.outside and not timeline.held_count:
            timeline.stay_outside()
            self._repairs.closed(conversation_id)
            return
        skipped = timeline.skip_hole()
        if skipped is not None:
            self._events.append(Gap(conversation_id, *skipped))
        self._repairs.closed(conversation_id)
        self._events.extend(map(event_of_message, timeline.take()))
        if timeline.missing:
            self._repairs.seen(conversation_id, timeline.level, now)
