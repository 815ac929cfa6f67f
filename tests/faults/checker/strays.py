"""Pass (e): canaries where they do not belong: in frames of strangers, in records, in logs (I6, I5, I11)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schemas.topics import ACCEPTED, MESSAGES
from tests.faults.checker.accounts import Accounts
from tests.faults.checker.findings import Findings
from tests.faults.checker.index import Index, Placed
from tests.faults.checker.people import People
from tests.faults.checker.source import Source
from tests.faults.dumps import Leak
from tests.faults.history import Answer, Deliver, GotHistory, Other, Page, Pong, Presence, Receipt, Typing

__all__ = ["Strays", "check_leaks"]

Framed = Answer | Deliver | GotHistory | Other | Page | Pong | Presence | Receipt | Typing


class Strays:
    """Judges what a frame held beyond the messages read from it."""

    def __init__(self, people: People, index: Index, accounts: Accounts, findings: Findings) -> None:
        self._people = people
        self._index = index
        self._accounts = accounts
        self._findings = findings

    def take(self, event: Framed) -> None:
        self._findings.looked_at("I6")
        for mid in event.strays:
            self._judge(event, mid)

    def _judge(self, event: Framed, mid: str) -> None:
        user = self._people.user(event)
        if mid.startswith(f"{user}/"):
            return
        placed = self._index.mids.get(mid)
        where: dict[str, Any] = {
            "client": event.client, "user": user, "session": event.session, "t": event.t, "mid": mid,
            "frame": type(event).__name__,
        }  # fmt: skip
        if placed is None:
            rejected = self._accounts.rejected_in(mid)
            if rejected is not None:
                self._findings.add("I11", "rejected content on a socket", **where, rejected=rejected)
            else:
                self._findings.add("I6", "unplaced text on a foreign socket", **where)
        elif not self._may_see(event, user, placed):
            members = self._index.conversations[placed.conversation].members
            place = {"conversation": placed.conversation, "seq": placed.seq, "stays": members.stays.get(user)}
            if members.was_in(user):
                self._findings.add("I5", "text from outside the stay", **where, **place)
            else:
                self._findings.add("I6", "private text on a foreign socket", **where, **place)

    def _may_see(self, event: Framed, user: str, placed: Placed) -> bool:
        """The history holds a message as it is now: whoever may read it reads its newest edit, though it was
        made after he left."""
        members = self._index.conversations[placed.conversation].members
        edited = placed.kind == "edit" and isinstance(event, Page | GotHistory)
        return members.sees(user, placed.seq) or (edited and members.sees(user, placed.target))


def check_leaks(source: Source, accounts: Accounts, findings: Findings) -> None:
    """What the harness found in logs, and rejected text inside other records."""
    for leak in source.lines("leaks", Leak):
        findings.looked_at("I6")
        findings.add("I6", "text of users in a log", where=leak.where, mid=leak.mid, line=leak.line[:300])
    for topic, record in _records(source):
        for mid in record.strays:
            rejected = accounts.rejected_in(mid)
            if rejected is not None:
                findings.add(
                    "I11", "rejected content inside another record", topic=topic, partition=record.partition,
                    offset=record.offset, mid=mid, rejected=rejected,
                )  # fmt: skip


def _records(source: Source) -> Iterator[tuple[str, Any]]:
    for topic in (ACCEPTED, MESSAGES):
        for record in source.topic(topic):
            if record.strays:
                yield topic, record
