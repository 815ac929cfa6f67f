"""Typing, presence and receipts may be lost, but never kept and never shown to strangers (I12)."""

from __future__ import annotations

from typing import Any, Final

from schemas.topics import ACCEPTED, INBOUND
from tests.faults.checker.findings import Findings
from tests.faults.checker.index import Conversation, Index
from tests.faults.checker.membership import ALWAYS
from tests.faults.checker.outbound import EPHEMERAL
from tests.faults.checker.patience import Patience
from tests.faults.checker.people import People
from tests.faults.checker.progress import Progress
from tests.faults.checker.source import Source
from tests.faults.history import Presence, Receipt, Request, Typing

__all__ = ["Ephemeral", "check_never_kept"]

_GRACE_S: Final = 5.0
"""A frame that was on its way when somebody left may still come."""
_AUDIENCE_S: Final = 5.0
"""How old the members may be that receipts go by; they are read from the history."""


class Ephemeral:
    """Collects such frames; judges them when it is known when anybody first saw each join and leave."""

    def __init__(
        self, people: People, index: Index, progress: Progress, patience: Patience, findings: Findings
    ) -> None:
        self._people = people
        self._progress = progress
        self._patience = patience
        self._index = index
        self._findings = findings
        self._frames: dict[tuple[str, str, str, str], list[float]] = {}
        """(client, conversation, by whom, what) → first and last time: a stay is an interval too."""
        self._subscribed: dict[str, set[str]] = {}

    def take_request(self, event: Request) -> None:
        if event.op == "presence.subscribe":
            self._subscribed.setdefault(event.client, set()).update(event.users)

    def take_presence(self, event: Presence) -> None:
        self._findings.looked_at("I12")
        user = self._people.user(event)
        if event.user != user and event.user not in self._subscribed.get(event.client, ()):
            self._findings.add(
                "I12", "presence that nobody asked for", client=event.client, session=event.session,
                t=event.t, of=event.user,
            )  # fmt: skip

    def take_frame(self, event: Typing | Receipt) -> None:
        self._findings.looked_at("I12")
        self._people.user(event)
        what = type(event).__name__.lower()
        times = self._frames.setdefault((event.client, event.conversation, event.user, what), [])
        if len(times) < 2:
            times.append(event.t)
        else:
            times[1] = max(times[1], event.t)

    def settle(self, state_seen_t: dict[tuple[str, int], float]) -> None:
        """`state_seen_t`: when each membership event was first seen by anybody."""
        for (client, conversation, by, what), times in self._frames.items():
            user = self._people.clients[client].user
            # Who left may still acknowledge what came before: a receipt of his is nothing wrong.
            for person in dict.fromkeys((user, by) if what == "typing" else (user,)):
                if (what, person) == ("receipt", by):
                    continue  # his own cursor, on his own devices
                for t in times:
                    if not self._was_inside(person, conversation, t, state_seen_t, what):
                        witness: dict[str, Any] = {"client": client, "t": t, "conversation": conversation}
                        self._findings.add(
                            "I12", f"{what} misrouted", **witness, by=by, outside=person, user=user
                        )
                        break

    def _was_inside(
        self, user: str, conversation: str, t: float, state_seen_t: dict[tuple[str, int], float], what: str
    ) -> bool:
        found = self._index.conversations.get(conversation)
        if found is None:
            return conversation.startswith("d:") and user in conversation.split(":")[1:]
        for first, last in found.members.stays.get(user, ()):
            since = state_seen_t.get((conversation, first), float("-inf")) if first else float("-inf")
            until = state_seen_t.get((conversation, last), float("inf")) if last != ALWAYS else float("inf")
            if what == "receipt" and last != ALWAYS:
                until = max(until, self._stored_t(found, last))
            if since - _GRACE_S <= t <= self._patience.after(until, _GRACE_S):
                return True
        return False

    def _stored_t(self, conversation: Conversation, seq: int) -> float:
        """Who hears of receipts is read from the history, which may lag behind what everybody has seen."""
        stored_t = self._progress.stored_t(conversation.placed[seq])
        return float("-inf") if stored_t is None else stored_t + _AUDIENCE_S


def check_never_kept(source: Source, index: Index, findings: Findings) -> None:
    """No record of the durable path is of an ephemeral kind."""
    for message in index.mids.values():
        if message.kind in EPHEMERAL:
            findings.add(
                "I12", "ephemeral frame sequenced", conversation=message.conversation, seq=message.seq,
                mid=message.mid, kind=message.kind, partition=message.partition, offset=message.offset,
            )  # fmt: skip
    for topic in (INBOUND, ACCEPTED):
        for record in source.topic(topic):
            findings.looked_at("I12")
            if record.kind in EPHEMERAL:
                findings.add(
                    "I12", "ephemeral frame kept in a topic", topic=topic, partition=record.partition,
                    offset=record.offset, kind=record.kind,
                )  # fmt: skip
