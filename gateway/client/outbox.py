"""Sends that have no final answer yet: strict order within a conversation, each ends exactly once. Pure.

A send is transmitted only when every earlier one of its conversation was accepted, so a temporary
refusal can be tried again without being overtaken. What was transmitted on a connection that broke
is transmitted again, with the same `client_msg_id`, before anything newer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from gateway.client.errors import OutboxFull
from gateway.client.outbox_store import OutboxStore, Outgoing
from schemas.errors import BadInput

__all__ = ["Entry", "Outbox"]


@dataclass(slots=True)
class Entry:
    """One send on its way. `transmitted`: a server may have it, from this connection or an earlier one."""

    frame: Outgoing
    position: int
    state: Literal["waiting", "unanswered", "accepted"] = "waiting"
    transmitted: bool = False
    transmitted_at: float = 0.0
    refusals: int = 0
    not_before: float = 0.0


@dataclass(slots=True)
class _Lane:
    """The sends of one conversation. Nothing goes before it is known what a server already has of them."""

    waiting: deque[Entry] = field(default_factory=deque)
    unanswered: Entry | None = None
    accepted: dict[str, Entry] = field(default_factory=dict)
    newest_transmitted: int = -1
    newest_placed: int = -1
    placed_seq: int = 0
    """Where the newest one that has its place stands."""
    server_has: Literal["unknown", "asked", "known"] = "known"

    @property
    def empty(self) -> bool:
        return not self.waiting and self.unanswered is None and not self.accepted

    @property
    def may_transmit(self) -> bool:
        return self.unanswered is None and bool(self.waiting) and self.server_has == "known"


class Outbox:
    """Holds at most `limit` sends; `add` raises `OutboxFull` beyond."""

    def __init__(self, store: OutboxStore, limit: int = 10_000) -> None:
        self._store = store
        self._limit = limit
        self._entries: dict[str, Entry] = {}
        self._lanes: dict[str, _Lane] = {}
        self._next_position = 0
        for frame in store.load():
            self._enqueue(frame).transmitted = True

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, client_msg_id: str) -> bool:
        return client_msg_id in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    @property
    def unanswered_count(self) -> int:
        return sum(lane.unanswered is not None for lane in self._lanes.values())

    @property
    def oldest_unanswered_at(self) -> float | None:
        """When the send was transmitted that has waited longest for `accepted`."""
        times = [lane.unanswered.transmitted_at for lane in self._lanes.values() if lane.unanswered]
        return min(times, default=None)

    def bind(self, user_id: str) -> None:
        """Say whose sends these are. Raises `BadInput` if they are another user's."""
        self._store.bind(user_id)

    def add(self, frame: Outgoing) -> None:
        """Take a send; when this returns it is stored."""
        if len(self._entries) >= self._limit:
            raise OutboxFull(f"{self._limit} sends wait for their answer")
        if frame.client_msg_id in self._entries:
            raise BadInput(f"client_msg_id {frame.client_msg_id!r} is already on its way")
        self._store.add(frame)
        self._enqueue(frame)

    def connected(self, resumed: bool) -> None:
        """A connection opened. On a new session, what may already be stored must be looked for first."""
        for lane in self._lanes.values():
            doubtful = not resumed and any(entry.transmitted for entry in lane.waiting)
            lane.server_has = "unknown" if doubtful else "known"

    def disconnected(self) -> None:
        """The connection broke: every send without a final answer waits again, in its old place."""
        for lane in self._lanes.values():
            returning = [
                *lane.accepted.values(),
                *([lane.unanswered] if lane.unanswered else []),
                *lane.waiting,
            ]
            for entry in returning:
                entry.state = "waiting"
            lane.waiting = deque(sorted(returning, key=lambda entry: entry.position))
            lane.unanswered = None
            lane.accepted.clear()
            lane.newest_transmitted = -1

    def take_doubtful(self, limit: int) -> list[str]:
        """Conversations to look into before their sends go again; at most `limit` are looked into at once."""
        asked = sum(lane.server_has == "asked" for lane in self._lanes.values())
        doubtful = [key for key, lane in self._lanes.items() if lane.server_has == "unknown"][
            : max(0, limit - asked)
        ]
        for conversation_id in doubtful:
            self._lanes[conversation_id].server_has = "asked"
        return doubtful

    def settle(self, conversation_id: str) -> None:
        """What a server had of this conversation was finished: the rest may go."""
        lane = self._lanes.get(conversation_id)
        if lane is not None:
            lane.server_has = "known"

    def take_ready(self, now: float, room: int) -> list[Outgoing]:
        """At most `room` sends to transmit now: the first of each conversation that nothing holds back."""
        ready: list[Outgoing] = []
        for lane in self._lanes.values():
            if len(ready) >= room:
                break
            if lane.may_transmit and lane.waiting[0].not_before <= now:
                ready.append(self._transmit(lane, now).frame)
        return ready

    def next_due(self) -> float | None:
        """When the earliest send that waits for its next try may go."""
        return min(
            (lane.waiting[0].not_before for lane in self._lanes.values() if lane.may_transmit), default=None
        )

    def accepted(self, client_msg_id: str) -> Entry | None:
        """The server keeps it. Returns the entry if this is news."""
        entry = self._entries.get(client_msg_id)
        if entry is None or entry.state != "unanswered":
            return None
        lane = self._lanes[entry.frame.conversation_id]
        entry.state = "accepted"
        lane.unanswered = None
        lane.accepted[client_msg_id] = entry
        return entry

    def finish(self, client_msg_id: str) -> Entry | None:
        """It is sent or failed for good: forget it. Returns the entry the first time."""
        entry = self._entries.pop(client_msg_id, None)
        if entry is None:
            return None
        self._store.remove(client_msg_id)
        self._leave_lane(entry)
        return entry

    def place(self, client_msg_id: str, seq: int) -> Entry | None:
        """It has its place in the conversation: forget it. Returns the entry the first time."""
        entry = self._entries.get(client_msg_id)
        if entry is not None:
            lane = self._lanes[entry.frame.conversation_id]
            lane.newest_placed = max(lane.newest_placed, entry.position)
            lane.placed_seq = max(lane.placed_seq, seq)
        return self.finish(client_msg_id)

    def take_overtaken(self, conversation_id: str, shown_until: int) -> list[Entry]:
        """Forget, and return, what was transmitted before a send that has its place already, and has none.

        The conversation was shown up to and including this seq, without them. A server decides in the order
        of transmission: these were refused, and their answers got lost. A history that does not show the
        later one yet says nothing of them.
        """
        lane = self._lanes.get(conversation_id)
        if lane is None or shown_until < lane.placed_seq:
            return []
        late = [e for e in lane.waiting if e.transmitted and e.position < lane.newest_placed]
        for entry in late:
            self.finish(entry.frame.client_msg_id)
        return late

    def try_again(self, client_msg_id: str, not_before: float) -> bool:
        """Put a send back for a later try. False if it is unknown or a later one may have overtaken it."""
        entry = self._entries.get(client_msg_id)
        if entry is None:
            return False
        lane = self._lanes[entry.frame.conversation_id]
        if entry.state == "accepted" and lane.newest_transmitted > entry.position:
            return False
        if entry.state != "waiting":
            lane.accepted.pop(client_msg_id, None)
            if lane.unanswered is entry:
                lane.unanswered = None
            lane.waiting.appendleft(entry)
        entry.state = "waiting"
        entry.not_before = not_before
        return True

    def refused(self, client_msg_id: str) -> int:
        """Count a temporary refusal; returns how many there were in a row."""
        entry = self._entries[client_msg_id]
        entry.refusals += 1
        return entry.refusals

    def close(self) -> None:
        self._store.close()

    def _enqueue(self, frame: Outgoing) -> Entry:
        entry = Entry(frame, self._next_position)
        self._next_position += 1
        self._entries[frame.client_msg_id] = entry
        self._lanes.setdefault(frame.conversation_id, _Lane()).waiting.append(entry)
        return entry

    def _transmit(self, lane: _Lane, now: float) -> Entry:
        entry = lane.waiting.popleft()
        entry.state = "unanswered"
        entry.transmitted = True
        entry.transmitted_at = now
        lane.unanswered = entry
        lane.newest_transmitted = entry.position
        return entry

    def _leave_lane(self, entry: Entry) -> None:
        lane = self._lanes[entry.frame.conversation_id]
        lane.accepted.pop(entry.frame.client_msg_id, None)
        if lane.unanswered is entry:
            lane.unanswered = None
        elif entry.state == "waiting":
            lane.waiting.remove(entry)
        if lane.empty:
            del self._lanes[entry.frame.conversation_id]
