"""Pass (c): what each client saw of each conversation, against the log and the membership at that place
(I2, I3, I5, I6, I11)."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from tests.faults.checker.accounts import Accounts
from tests.faults.checker.findings import Findings
from tests.faults.checker.index import STATE_KINDS, Conversation, Index, Placed
from tests.faults.checker.people import People
from tests.faults.checker.progress import Progress
from tests.faults.checker.ranges import Ranges
from tests.faults.history import EMPTY, Deliver, GotHistory, Page, Saw, Seen, Sent

__all__ = ["Sights", "View", "Views"]


class View:
    """One conversation through one client's eyes. `newest` is the highest seq seen; `shown`: what an SDK
    told its application."""

    __slots__ = ("conversation", "newest", "seqs", "shown", "stay")

    def __init__(self, conversation: Conversation | None) -> None:
        self.conversation = conversation
        self.seqs = Ranges()
        self.shown = Ranges()
        self.newest = 0
        self.stay = (0, -1)
        """The stay in which the user was found last: nearly every message lies in the same one."""


class Sights:
    """When messages were first seen by a delivery: numbers of messages and times, side by side."""

    def __init__(self) -> None:
        self.numbers = array("I")
        self.times = array("d")


class Views:
    """The merged view of every client: deliveries, pages, history, and the own `sent`."""

    def __init__(
        self, people: People, index: Index, accounts: Accounts, progress: Progress, findings: Findings
    ) -> None:
        self.sights = Sights()
        self.state_seen_t: dict[tuple[str, int], float] = {}
        """(conversation, seq) of a membership event → when any client first saw it."""
        self._people = people
        self._index = index
        self._accounts = accounts
        self._progress = progress
        self._findings = findings
        self._views: dict[str, dict[str, View]] = {}

    def view(self, client: str, conversation: str) -> View:
        views = self._views.setdefault(client, {})
        view = views.get(conversation)
        if view is None:
            view = views[conversation] = View(self._index.conversations.get(conversation))
        return view

    def missing(
        self, client: str, user: str, session: str, conversation: str, first: int, last: int
    ) -> list[int]:
        """The seqs of a range that this connection should have shown this client, and did not yet."""
        view = self.view(client, conversation)
        if view.conversation is None:
            return []
        members, placed = view.conversation.members, view.conversation.placed
        return [
            seq
            for seq in view.seqs.missing(first, last)
            if seq in placed
            and members.sees(user, seq)
            and not self._people.is_own(user, session, placed[seq])
        ]

    def take_sent(self, event: Sent) -> None:
        self.view(event.client, event.conversation).seqs.add(event.seq)

    def take_deliver(self, event: Deliver) -> None:
        self._take(event, event.messages, live=True)

    def take_saw(self, event: Saw) -> None:
        for seen in event.messages:
            if not self.view(event.client, seen.conversation).shown.add(seen.seq):
                self._findings.add("I2", "shown twice", **_where(event, seen))
        self._take(event, event.messages, live=True)

    def take_page(self, event: Page) -> None:
        self._take(event, event.messages, live=False)
        self._check_recalls(event, event.messages)

    def take_history(self, event: GotHistory) -> None:
        self._take(event, event.messages, live=False)
        self._check_recalls(event, event.messages)

    def _take(
        self, event: Deliver | Saw | Page | GotHistory, messages: Sequence[Seen], *, live: bool
    ) -> None:
        user = self._people.user(event)
        views = self._views.setdefault(event.client, {})
        for seen in messages:
            view = views.get(seen.conversation) or self.view(event.client, seen.conversation)
            placed = view.conversation.placed.get(seen.seq) if view.conversation is not None else None
            if placed is None or placed.mid != f"{seen.sender}/{seen.client_msg_id}":
                self._unplaced(event, user, seen, placed)
                continue
            assert view.conversation is not None
            first, last = view.stay
            if not first <= seen.seq <= last:
                self._enter_stay(event, user, seen, view)
            if seen.digest != placed.digest or seen.recalled:
                self._check_content(event, seen, view.conversation)
            if view.seqs.add(seen.seq) and live and placed.sender != user:
                self.sights.numbers.append(placed.number)
                self.sights.times.append(event.t)
            if seen.seq > view.newest:
                view.newest = seen.seq
            if placed.kind in STATE_KINDS:
                place = (placed.conversation, placed.seq)
                self.state_seen_t[place] = min(event.t, self.state_seen_t.get(place, event.t))
        self._findings.looked_at("I3", len(messages))
        self._findings.looked_at("I5", len(messages))
        self._findings.looked_at("I6", len(messages))

    def _unplaced(
        self, event: Deliver | Saw | Page | GotHistory, user: str, seen: Seen, there: Placed | None
    ) -> None:
        """What the log has not at this place: another order than everybody's, or something worse."""
        where = _where(event, seen)
        rejected = self._accounts.rejected_in(where["mid"])
        if rejected is not None:
            if seen.sender != user:
                self._findings.add("I11", "rejected content on a socket", **where, rejected=rejected)
            return
        elsewhere = self._index.mids.get(where["mid"])
        self._findings.add(
            "I3", "seen at a place where the log has something else", **where, log=there and there.mid,
            seq_in_log=elsewhere and elsewhere.seq,
        )  # fmt: skip

    def _enter_stay(
        self, event: Deliver | Saw | Page | GotHistory, user: str, seen: Seen, view: View
    ) -> None:
        assert view.conversation is not None
        members = view.conversation.members
        for first, last in members.stays.get(user, ()):
            if first <= seen.seq <= last:
                view.stay = (first, last)
                return
        where = {**_where(event, seen), "user": user, "stays": members.stays.get(user)}
        if not members.was_in(user):
            self._findings.add("I6", "a conversation on a foreign socket", **where)
        elif seen.seq < members.stays[user][0][0]:
            self._findings.add("I5", "seen from before the join", **where)
        else:
            self._findings.add("I5", "seen from after the leave", **where)

    def _check_content(
        self, event: Deliver | Saw | Page | GotHistory, seen: Seen, conversation: Conversation
    ) -> None:
        if seen.recalled and seen.digest != EMPTY:
            self._findings.add("I5", "marked as recalled, yet with content", **_where(event, seen))
        elif seen.digest not in conversation.contents(seen.seq):
            expected = sorted(conversation.contents(seen.seq))
            self._findings.add(
                "I3", "seen with other content", **_where(event, seen), digest=seen.digest, expected=expected
            )

    def _check_recalls(self, event: Page | GotHistory, messages: Sequence[Seen]) -> None:
        """What was asked for after a recall had been stored must not hold the content any more."""
        for seen in messages:
            conversation = self._index.conversations.get(seen.conversation)
            recall = conversation.recalls.get(seen.seq) if conversation is not None else None
            if recall is None or seen.digest == EMPTY:
                continue
            stored_t = self._progress.stored_t(recall)
            self._findings.looked_at("I5")
            if stored_t is not None and event.asked_t > stored_t:
                self._findings.add(
                    "I5", "read after its recall", **_where(event, seen), recall_seq=recall.seq,
                    asked_t=event.asked_t, recall_stored_t=stored_t,
                )  # fmt: skip

    def settle(self) -> None:
        """At the end of the logs: every settled reader has seen all that its user may see."""
        by_user: dict[str, list[Conversation]] = {}
        for conversation in self._index.conversations.values():
            for user in conversation.members.stays:
                by_user.setdefault(user, []).append(conversation)
        for name in self._people.settled:
            client = self._people.clients[name]
            if client.reader:
                for conversation in by_user.get(client.user, ()):
                    self._settle(name, client.user, conversation)

    def _settle(self, client: str, user: str, conversation: Conversation) -> None:
        for first, last in conversation.members.seen_by(user, conversation.head):
            self._findings.looked_at("I2", last - first + 1)
            for seq in self.missing(client, user, "", conversation.id, first, last):
                placed = conversation.placed[seq]
                self._findings.add(
                    "I2", "never seen by a member", client=client, user=user, conversation=conversation.id,
                    seq=seq, mid=placed.mid, stay=(first, last), partition=placed.partition,
                    offset=placed.offset, message_id=placed.message_id,
                )  # fmt: skip


def _where(event: Deliver | Saw | Page | GotHistory, seen: Seen) -> dict[str, Any]:
    return {
        "client": event.client, "session": event.session, "t": event.t, "by": type(event).__name__,
        "conversation": seen.conversation, "seq": seen.seq, "mid": f"{seen.sender}/{seen.client_msg_id}",
    }  # fmt: skip
