"""Pass (a) and (b), the senders' side: what each was told about a message, against what became of it (I1),
and whether the order in which a connection sent is the order of the log (I3)."""

from __future__ import annotations

from collections.abc import Iterator
from sys import intern
from typing import Any

import msgspec

from tests.faults.checker.accounts import Accounts
from tests.faults.checker.findings import Findings
from tests.faults.checker.index import Index, Placed
from tests.faults.checker.people import People
from tests.faults.checker.tables import Stored
from tests.faults.history import Accepted, Rejected, Send, Sent, Unknown, mid_of

__all__ = ["Outcome", "Outcomes"]


class Outcome(msgspec.Struct, gc=False):
    """What one sender knows about one message, over all attempts. Times are 0.0 while it does not."""

    mid: str
    conversation: str
    first_t: float
    forbidden: bool
    accepted_t: float = 0.0
    answered_t: float = 0.0
    settled_t: float = 0.0
    """When it was first sent or rejected."""
    certain_t: float = 0.0
    """When it was first accepted, sent, or refused for good: the sender needs not try again."""
    given_up_t: float = 0.0
    """When its sender stopped to ask for an answer."""
    sent_seq: int = 0
    open: bool = True
    """The newest attempt has no answer yet."""
    lost: bool = False
    """An attempt ended without an answer: it may have happened."""
    refused_code: int = 0

    @property
    def ok(self) -> bool:
        return self.sent_seq > 0 or (self.accepted_t > 0 and not self.refused_code)

    @property
    def failed(self) -> bool:
        """Refused for certain: every attempt had its answer, and the last one was no."""
        return self.refused_code > 0 and not (self.open or self.lost or self.sent_seq)


class Outcomes:
    """Follows every send from its first attempt to its answer."""

    def __init__(self, people: People, index: Index, accounts: Accounts, findings: Findings) -> None:
        self.by_mid: dict[str, Outcome] = {}
        self._people = people
        self._index = index
        self._accounts = accounts
        self._findings = findings
        self._sends: dict[tuple[str, str], list[str]] = {}
        """(session, conversation) → mids in the order of their attempts."""

    def take_send(self, event: Send) -> None:
        if event.conflict:
            return
        mid = mid_of(self._people.user(event), event.client_msg_id)
        outcome = self.by_mid.get(mid)
        if outcome is None:
            self.by_mid[mid] = Outcome(mid, intern(event.conversation), event.t, event.forbidden)
        else:
            outcome.lost |= outcome.open
            outcome.open = True
        if event.session:
            self._sends.setdefault((intern(event.session), intern(event.conversation)), []).append(mid)

    def take_accepted(self, event: Accepted) -> None:
        outcome = self._outcome(event)
        if outcome is not None:
            if not self._accounts.claim(outcome.mid, event.session):
                self._findings.add("I1", "accepted before the log had it", **_where(event, outcome.mid))
            outcome.accepted_t = outcome.accepted_t or event.t
            outcome.answered_t = outcome.answered_t or event.t
            outcome.certain_t = outcome.certain_t or event.t
            outcome.refused_code = 0

    def take_sent(self, event: Sent) -> None:
        self._findings.looked_at("I1")
        outcome = self._outcome(event)
        if outcome is None:
            return
        where = {**_where(event, outcome.mid), "conversation": event.conversation, "seq": event.seq}
        if outcome.refused_code and not (outcome.open or outcome.lost):
            self._findings.add("I1", "refused and then sent", **where, code=outcome.refused_code)
        outcome.open = False
        outcome.answered_t = outcome.answered_t or event.t
        outcome.settled_t = outcome.settled_t or event.t
        outcome.certain_t = outcome.certain_t or event.t
        outcome.sent_seq = event.seq
        placed = self._index.mids.get(outcome.mid)
        if placed is None:
            self._findings.add("I1", "sent but not in the log", **where)
        elif (placed.conversation, placed.seq) != (event.conversation, event.seq):
            self._findings.add("I1", "sent with another seq than the log's", **where, seq_in_log=placed.seq)
        elif event.message_id and event.message_id != placed.message_id:
            self._findings.add("I1", "sent with another message_id", **where, log=placed.message_id)

    def take_rejected(self, event: Rejected) -> None:
        outcome = None if event.of_conflict else self._outcome(event)
        if outcome is not None:
            if outcome.sent_seq and not (outcome.open or outcome.lost):
                self._findings.add(
                    "I1", "sent and then refused", **_where(event, outcome.mid), code=event.code
                )
            # An SDK sends again by itself, so its last refusal leaves its earlier attempts open.
            outcome.lost |= event.temporary and self._people.clients[event.client].sdk
            outcome.open = False
            outcome.answered_t = outcome.answered_t or event.t
            outcome.settled_t = outcome.settled_t or event.t
            if not event.temporary:
                outcome.certain_t = outcome.certain_t or event.t
            outcome.refused_code = event.code

    def take_unknown(self, event: Unknown) -> None:
        outcome = self._outcome(event) if event.client_msg_id else None
        if outcome is not None and event.final:
            outcome.given_up_t = event.t
        if outcome is not None and outcome.open:
            outcome.open = False
            outcome.lost = True

    def _outcome(self, event: Accepted | Sent | Rejected | Unknown) -> Outcome | None:
        mid = mid_of(self._people.user(event), event.client_msg_id)
        outcome = self.by_mid.get(mid)
        if outcome is None and not isinstance(event, Unknown):
            self._findings.add("I1", "an answer to nothing", **_where(event, mid))
        return outcome

    def settle(self, stored: Stored) -> None:
        """At the end of the logs: hold every outcome against log and tables."""
        for outcome in self.by_mid.values():
            self._findings.looked_at("I1")
            self._settle(outcome, stored)
        self._check_order()

    def _settle(self, outcome: Outcome, stored: Stored) -> None:
        placed = self._index.mids.get(outcome.mid)
        where: dict[str, Any] = {
            "mid": outcome.mid, "conversation": outcome.conversation, "t": outcome.first_t,
            "accepted_t": outcome.accepted_t, "seq": placed and placed.seq,
            "partition": placed and placed.partition, "offset": placed and placed.offset,
        }  # fmt: skip
        if outcome.forbidden:
            self._findings.looked_at("I11")
            if placed is not None:
                self._findings.add("I11", "forbidden content has a place", **where)
        if outcome.failed:
            if placed is not None or outcome.mid in stored.unplaced:
                row = stored.unplaced.get(outcome.mid)
                self._findings.add("I1", "refused but kept", **where, code=outcome.refused_code, row=row)
        elif outcome.ok:
            if placed is None and outcome.mid not in self._accounts.refused:
                self._findings.add("I1", "accepted but lost", **where)
            elif placed is not None and not stored.has(placed.conversation, placed.seq):
                self._findings.add("I1", "accepted but not stored", **where)

    def _check_order(self) -> None:
        placed_by: dict[tuple[str, str], list[Placed]] = {}
        for message in self._index.mids.values():
            if message.session:
                placed_by.setdefault((message.session, message.conversation), []).append(message)
        for key, messages in placed_by.items():
            self._findings.looked_at("I3", len(messages))
            self._check_session(key, messages, self._sends.get(key, []))

    def _check_session(self, key: tuple[str, str], messages: list[Placed], attempts: list[str]) -> None:
        """Each placed message must come from an attempt after those of all messages before it."""
        remaining = _positions(attempts)
        newest = -1
        before: Placed | None = None
        for message in sorted(messages, key=lambda placed: placed.seq):
            positions = remaining.get(message.mid)
            if positions is None:
                continue  # group requests, or the log of another client
            later = [position for position in positions if position > newest]
            if not later:
                self._findings.add(
                    "I3", "a connection's sends changed order", session=key[0], conversation=key[1],
                    mid=message.mid, seq=message.seq, overtaken_by=before and before.mid,
                    t=self.by_mid[message.mid].first_t,
                )  # fmt: skip
                continue
            newest, before = later[0], message

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.by_mid.values())


def _where(event: Accepted | Sent | Rejected | Unknown, mid: str) -> dict[str, Any]:
    return {"mid": mid, "client": event.client, "session": event.session, "t": event.t}


def _positions(attempts: list[str]) -> dict[str, list[int]]:
    positions: dict[str, list[int]] = {}
    for position, mid in enumerate(attempts):
        positions.setdefault(mid, []).append(position)
    return positions
