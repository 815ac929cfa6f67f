"""Pass (b), the log: every record of im.inbound has exactly one end (I9), and what was rejected goes no
further (I11)."""

from __future__ import annotations

from collections import Counter
from sys import intern
from typing import Any, Final

from schemas.codes import Code
from schemas.topics import ACCEPTED, DEAD_LETTERS, INBOUND, MODERATION
from tests.faults.checker.findings import Findings
from tests.faults.checker.index import Index
from tests.faults.checker.source import Source
from tests.faults.dumps import TopicEnd
from tests.faults.history import mid_of

__all__ = ["Accounts"]

_UNREAD: Final = "-"
"""Stands where the dump has no record, because the topic lost it."""
_ENDS: Final = ("inbound", "sequenced", "rejected", "dead_lettered", "duplicates")
_TAKEN: Final = 1
_REJECTED: Final = 2
_BURIED: Final = 4
_REPEAT: Final = 8


class _Ledger:
    """One partition of a topic: whose record stands at each offset, and what became of it."""

    def __init__(self) -> None:
        self.mids: list[str] = []
        self.ends = bytearray()
        self.newest_source = -1

    def add(self, offset: int, mid: str, end: int = 0) -> None:
        while len(self.mids) < offset:  # not in the dump: nothing to account for
            self.mids.append(_UNREAD)
            self.ends.append(_BURIED)
        self.mids.append(mid)
        self.ends.append(end)

    def mark(self, offset: int, end: int) -> int:
        """Note an end; what was noted before, or -1 if there is no such record."""
        if not 0 <= offset < len(self.ends):
            return -1
        before = self.ends[offset]
        self.ends[offset] |= end
        return before

    def mid(self, offset: int) -> str | None:
        return self.mids[offset] if 0 <= offset < len(self.mids) else None


class Accounts:
    """Reads im.inbound, im.accepted, im.moderation and im.dlq against the index of im.messages.

    `forbidden`: mid → where it was rejected by a rule, for content that was never accepted.
    `counts`: what else was there.
    """

    def __init__(self, source: Source, index: Index, findings: Findings) -> None:
        self.forbidden: dict[str, dict[str, Any]] = {}
        self.refused: set[str] = set()
        """Every mid with a rejecting decision, whatever its code."""
        self.short_dumps: list[str] = []
        """Why the dumps show less than there was."""
        self.partitions: dict[int, Counter[str]] = {}
        """What came in and how it ended, by partition: the first number is the sum of the others, or I9 says
        which records are to blame."""
        self.counts: Counter[str] = Counter()
        self._source = source
        self._index = index
        self._findings = findings
        self._truncated = any(end.start for end in source.lines("ends", TopicEnd) if end.topic == INBOUND)
        self._came_in: Counter[tuple[str, str]] = Counter()
        self._mids: set[str] = set()
        self._inbound: dict[int, _Ledger] = {}
        self._accepted: dict[int, _Ledger] = {}

    def check(self) -> None:
        self._read_inbound()
        self._read_accepted()
        self._read_messages()
        self._read_dead_letters()
        self._read_decisions()
        self._settle_inbound()
        self._settle_accepted()
        self._check_dumps()

    def _check_dumps(self) -> None:
        """A dump must reach the end that its topic had."""
        ledgers = {INBOUND: self._inbound, ACCEPTED: self._accepted}
        for end in self._source.lines("ends", TopicEnd):
            if end.topic in ledgers and end.end > end.start:
                ledger = ledgers[end.topic].get(end.partition)
                reached = len(ledger.mids) if ledger is not None else 0
                if reached < end.end:
                    self.short_dumps.append(
                        f"{end.topic}[{end.partition}] is dumped up to {reached} of {end.end}"
                    )

    def claim(self, mid: str, session: str) -> bool:
        """Whether im.inbound has a record for one more `accepted` of this message in this session (empty:
        in any). True if the beginning of the topic is gone, because then nobody knows."""
        if self._truncated or not session:
            return self._truncated or mid in self._mids
        self._came_in[mid, session] -= 1
        return self._came_in[mid, session] >= 0

    def _read_inbound(self) -> None:
        for record in self._source.topic(INBOUND):
            mid = "" if record.bad else mid_of(record.sender, record.client_msg_id)
            self._came_in[mid, intern(record.session)] += 1
            self._mids.add(mid)
            self._inbound.setdefault(record.partition, _Ledger()).add(record.offset, mid)
            self._findings.looked_at("I9")

    def _read_accepted(self) -> None:
        for record in self._source.topic(ACCEPTED):
            ledger = self._accepted.setdefault(record.partition, _Ledger())
            if record.bad:
                ledger.add(record.offset, "")
                continue
            mid = mid_of(record.sender, record.client_msg_id)
            where = {
                "mid": mid,
                "partition": record.partition,
                "offset": record.offset,
                "source": record.source,
            }
            origin = self._inbound.setdefault(record.partition, _Ledger())
            if origin.mid(record.source) not in (mid, _UNREAD):
                there = origin.mid(record.source)
                self._findings.add("I9", "accepted without an inbound record", **where, there=there)
            repeat = (
                bool(origin.mark(record.source, _TAKEN) & _TAKEN) and record.source <= ledger.newest_source
            )
            if record.source < ledger.newest_source and not repeat:
                self._findings.add(
                    "I9", "accepted out of order", **where, newest_source=ledger.newest_source
                )  # its readers drop it as a repeat
            ledger.newest_source = max(ledger.newest_source, record.source)
            self.counts["accepted_repeats"] += repeat
            ledger.add(record.offset, mid, _REPEAT if repeat else 0)

    def _read_messages(self) -> None:
        for message in self._index.mids.values():
            ledger = self._accepted.get(message.partition)
            if ledger is None or ledger.mid(message.source) not in (message.mid, _UNREAD):
                self._findings.add(
                    "I9", "sequenced without an accepted record", mid=message.mid,
                    conversation=message.conversation, seq=message.seq, partition=message.partition,
                    offset=message.offset, source=message.source, there=ledger and ledger.mid(message.source),
                )  # fmt: skip
            else:
                ledger.mark(message.source, _TAKEN)

    def _read_dead_letters(self) -> None:
        ledgers = {INBOUND: self._inbound, ACCEPTED: self._accepted}
        for record in self._source.topic(DEAD_LETTERS):
            self.counts["dead_letters"] += 1
            if record.topic in ledgers and record.source_partition in ledgers[record.topic]:
                ledgers[record.topic][record.source_partition].mark(record.source, _BURIED)

    def _read_decisions(self) -> None:
        for record in self._source.topic(MODERATION):
            if record.bad or record.verdict != "reject":
                continue
            mid = mid_of(record.sender, record.client_msg_id)
            where = {
                "mid": mid, "partition": record.partition, "source": record.source, "code": record.code,
                "conversation": record.conversation,
            }  # fmt: skip
            self.refused.add(mid)
            ledger = self._inbound.get(record.partition)
            before = ledger.mark(record.source, _REJECTED) if ledger is not None else -1
            if before < 0:
                self._findings.add("I9", "rejected without an inbound record", **where)
            elif before & _TAKEN:
                self._findings.add("I9", "rejected and accepted", **where)
                if record.code == Code.MODERATED:
                    self._findings.add("I11", "rejected content was accepted", **where)
            if record.code == Code.MODERATED:
                self._findings.looked_at("I11")
                self.forbidden[mid] = where

    def _settle_inbound(self) -> None:
        for partition, ledger in self._inbound.items():
            account = self._account(partition)
            for offset, (mid, end) in enumerate(zip(ledger.mids, ledger.ends, strict=True)):
                if mid == _UNREAD:
                    continue
                account["inbound"] += 1
                account["rejected"] += end & _REJECTED > 0
                account["dead_lettered"] += end & _BURIED > 0
                if not end:
                    where = {"mid": mid or "undecodable", "partition": partition, "offset": offset}
                    self._findings.add("I9", "inbound record without an end", **where)

    def _settle_accepted(self) -> None:
        for partition, ledger in self._accepted.items():
            account = self._account(partition)
            for offset, (mid, end) in enumerate(zip(ledger.mids, ledger.ends, strict=True)):
                account["sequenced"] += end == _TAKEN
                account["dead_lettered"] += end == _BURIED and mid != _UNREAD
                if end:
                    continue
                placed = self._index.mids.get(mid)
                if placed is not None and placed.partition == partition and placed.source < offset:
                    account["duplicates"] += 1
                else:
                    self._findings.add(
                        "I9", "accepted record was never sequenced", mid=mid or "undecodable",
                        partition=partition, offset=offset, placed_from=placed and placed.source,
                    )  # fmt: skip

    def _account(self, partition: int) -> Counter[str]:
        return self.partitions.setdefault(partition, Counter(dict.fromkeys(_ENDS, 0)))

    def rejected_in(self, mid: str) -> dict[str, Any] | None:
        """Where a mid was rejected by a rule, if it was and was not accepted on another try."""
        return self.forbidden.get(mid) if mid not in self._index.mids else None
