"""Pass (d): each connection from its welcome on: deliveries count without a gap through resumes (I8), seqs
never go back or jump silently (I4), cursors only rise, syncs and history pages have no holes (I8)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tests.faults.checker.findings import Findings
from tests.faults.checker.people import People
from tests.faults.checker.ranges import Ranges
from tests.faults.checker.views import Views
from tests.faults.history import (
    ClientEvent,
    Deliver,
    Gap,
    GotHistory,
    Page,
    Receipt,
    Saw,
    Seen,
    SyncAsked,
    Welcome,
    mid_of,
)

__all__ = ["Sockets"]


class _Session:
    """What one session has delivered so far."""

    __slots__ = ("last_n", "newest")

    def __init__(self) -> None:
        self.last_n = 0
        self.newest: dict[str, int] = {}
        """Conversation → seq of its newest delivery in this session."""


class Sockets:
    """Walks the events of each client in their order; goes before `Views` in taking each of them."""

    def __init__(self, people: People, views: Views, findings: Findings) -> None:
        self._people = people
        self._views = views
        self._findings = findings
        self._sessions: dict[tuple[str, str], _Session] = {}
        self._told: dict[tuple[str, str], Ranges] = {}
        self._holes: list[tuple[str, str, list[int], dict[str, Any]]] = []
        """(invariant, anomaly, seqs, witness) of holes that a Gap has to tell of."""
        self._receipts: dict[tuple[str, str, str], list[int]] = {}
        self._rows: dict[tuple[str, str], int] = {}
        self._syncs: dict[tuple[str, str], str] = {}

    def take_welcome(self, event: Welcome) -> None:
        key = (event.client, event.session)
        if event.resumed:
            self._findings.looked_at("I8")
            if key not in self._sessions:
                self._findings.add("I8", "a session resumed that never was", **_where(event))
        else:
            self._sessions[key] = _Session()

    def take_deliver(self, event: Deliver) -> None:
        session = self._sessions.setdefault((event.client, event.session), _Session())
        self._findings.looked_at("I8")
        if event.n <= session.last_n:
            self._check_retransmission(event, session)
            return
        if event.n != session.last_n + 1:
            self._findings.add(
                "I8", "a delivery was skipped", **_where(event), n=event.n, last_n=session.last_n
            )
        session.last_n = event.n
        self._walk(event, event.messages, session.newest)

    def _check_retransmission(self, event: Deliver, session: _Session) -> None:
        """An old n comes with what it came with before: nothing that this client has not seen."""
        for seen in event.messages:
            if seen.seq not in self._views.view(event.client, seen.conversation).seqs:
                self._findings.add(
                    "I8",
                    "an old n with new messages",
                    **_place(event, seen),
                    n=event.n,
                    last_n=session.last_n,
                )

    def take_saw(self, event: Saw) -> None:
        session = self._sessions.setdefault((event.client, ""), _Session())
        self._walk(event, event.messages, session.newest)

    def _walk(self, event: Deliver | Saw, messages: Sequence[Seen], newest: dict[str, int]) -> None:
        self._findings.looked_at("I4", len(messages))
        for seen in messages:
            before = newest.get(seen.conversation)
            if before is not None and seen.seq != before + 1:
                if seen.seq <= before:
                    anomaly = "seq went back" if seen.seq < before else "the same seq again"
                    self._findings.add("I4", anomaly, **_place(event, seen), newest=before)
                    continue
                self._expect_told("I4", "a jump nobody told of", event, seen, before + 1)
            newest[seen.conversation] = seen.seq

    def _expect_told(
        self, invariant: str, anomaly: str, event: Deliver | Saw | Page | GotHistory, seen: Seen, first: int
    ) -> None:
        user = self._people.user(event)
        session = "" if isinstance(event, Page | GotHistory) else event.session
        lacking = self._views.missing(event.client, user, session, seen.conversation, first, seen.seq - 1)
        if lacking:
            witness = {**_place(event, seen), "missing": lacking[:10], "missing_count": len(lacking)}
            self._holes.append((invariant, anomaly, lacking, witness))

    def take_gap(self, event: Gap) -> None:
        told = self._told.setdefault((event.client, event.conversation), Ranges())
        told.add_range(event.first, event.last)

    def take_sync(self, event: SyncAsked) -> None:
        self._syncs[event.client, event.request] = event.token

    def take_page(self, event: Page) -> None:
        since_token = bool(self._syncs.get((event.client, event.request))) and not event.reset
        self._findings.looked_at("I8")
        for row in event.conversations:
            shown = self._rows.get((event.client, row.conversation), 0)
            if row.read_seq < shown:
                self._findings.add(
                    "I8", "read cursor came back smaller", **_where(event), conversation=row.conversation,
                    read_seq=row.read_seq, shown=shown,
                )  # fmt: skip
            self._rows[event.client, row.conversation] = max(shown, row.read_seq)
        if since_token:
            self._check_sync(event)

    def _check_sync(self, event: Page) -> None:
        """After a token: rising seqs in each conversation, none left out since the newest one seen."""
        newest: dict[str, int] = {}
        for seen in event.messages:
            before = newest.get(seen.conversation)
            if before is None:
                before = self._views.view(event.client, seen.conversation).newest
                if before and seen.seq > before + 1:
                    self._expect_told("I8", "a sync left out what came before", event, seen, before + 1)
            elif seen.seq <= before:
                self._findings.add("I4", "a page out of order", **_place(event, seen), newest=before)
            elif seen.seq > before + 1:
                self._expect_told("I8", "a sync left out a message", event, seen, before + 1)
            newest[seen.conversation] = seen.seq

    def take_history(self, event: GotHistory) -> None:
        """A history page has no hole inside, whichever way it goes."""
        self._findings.looked_at("I8")
        by_seq = sorted(event.messages, key=lambda seen: seen.seq)
        for before, seen in pairwise(by_seq):
            if seen.seq > before.seq + 1:
                self._expect_told("I8", "a history page left out a message", event, seen, before.seq + 1)

    def take_receipt(self, event: Receipt) -> None:
        cursors = self._receipts.setdefault((event.session, event.conversation, event.user), [0, 0])
        self._findings.looked_at("I8")
        for at, (name, seq) in enumerate((("delivered", event.delivered_seq), ("read", event.read_seq))):
            if 0 <= seq < cursors[at]:
                self._findings.add(
                    "I8", "a receipt went back", **_where(event), conversation=event.conversation,
                    user=event.user, cursor=name, seq=seq, before=cursors[at],
                )  # fmt: skip
            cursors[at] = max(cursors[at], seq)

    def settle(self) -> None:
        """At the end of the logs: every hole was told of."""
        for invariant, anomaly, lacking, witness in self._holes:
            told = self._told.get((witness["client"], witness["conversation"]))
            untold = lacking if told is None else [seq for seq in lacking if seq not in told]
            if untold:
                self._findings.add(invariant, anomaly, **witness)


def _where(event: ClientEvent) -> dict[str, Any]:
    return {"client": event.client, "session": event.session, "t": event.t}


def _place(event: ClientEvent, seen: Seen) -> dict[str, Any]:
    mid = mid_of(seen.sender, seen.client_msg_id)
    return {**_where(event), "conversation": seen.conversation, "seq": seen.seq, "mid": mid}
