"""The audit: closes the books of every partition, round after round, beside the running system."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final, Literal

import msgspec
import structlog

from infra.clock import Clock
from infra.ports import Bus, HistoryStore, RouteTable
from infra.settings import Settings
from pipeline.ops.accounts.arrival import Said
from pipeline.ops.accounts.deliveries import Deliveries
from pipeline.ops.accounts.findings import BETWEEN, Between, Finding, place_of
from pipeline.ops.accounts.ledger import Ledger
from pipeline.ops.accounts.ledger_reader import DeadLetters, Head, LedgerReader, Marks, read_marks
from schemas.codec import MESSAGE
from schemas.errors import Undecodable
from schemas.topics import ACCEPTED, DEAD_LETTERS, INBOUND, MESSAGES

__all__ = ["REPORT", "Account", "Audit", "ack_grace_ms", "books_of"]

log = structlog.get_logger(__name__)

REPORT: Final = "ledger"
LOOK_BACK_MS: Final = 60_000
"""Where the books of a new process begin: what a restart of it would pass over."""
_NAMED: Final = 20
_OPEN: Final = 1_000
"""Overdue deliveries that are looked at again each round."""
_WAITING_HEADS: Final = 50_000
_RECEIPTS_MS: Final = 15_000
"""From an ack to the stored cursor: the gateway gathers a second, the stage may wait for Cassandra."""

Result = Literal[
    "accepted",
    "rejected",
    "dead_lettered",
    "sent",
    "repeat",
    "stored",
    "delivered",
    "waiting",
    "unchecked",
]


class Account(msgspec.Struct, frozen=True):
    """The books at one moment. `unaccounted` counts, by step; `findings` names the first of them."""

    since_ms: int
    until_ms: int
    """Everything sent between these times is accounted for, but for what is in flight or unaccounted."""
    at_ms: int
    results: dict[Result, int]
    """Since the audit began. `unchecked`: deliveries beyond what one round asks for."""
    in_flight: int
    unaccounted: dict[Between, int]
    findings: list[Finding]

    @property
    def total(self) -> int:
        return sum(self.unaccounted.values())


def ack_grace_ms(settings: Settings) -> int:
    """After this time a gateway has closed a connection that does not ack, and the cursor is stored."""
    return int(settings.ack_timeout_s * settings.ack_tries * 1000) + _RECEIPTS_MS


class Audit:
    """Reads the log without a group, so that two of it do no harm, and nobody's offsets move.

    Memory is bounded by what one round reads and by the named findings. A round that raises
    `Unavailable` is simply made again.
    """

    def __init__(
        self, settings: Settings, bus: Bus, history: HistoryStore, routes: RouteTable, clock: Clock
    ) -> None:
        self._bus = bus
        self._history = history
        self._clock = clock
        self._window_ms = settings.dedupe_window_s * 1000
        self._grace_ms = ack_grace_ms(settings)
        self._members = settings.ledger_members
        self._deliveries = Deliveries(history, routes, self._grace_ms)
        self._readers: dict[int, LedgerReader] = {}
        self._letters = DeadLetters(bus, 0)
        self._heads: deque[tuple[int, str, Head]] = deque()
        self._overdue: dict[tuple[str, str], Said] = {}
        self._results: Counter[Result] = Counter()
        self._since_ms = 0

    async def open(self) -> None:
        """Begin the books a minute ago. Raises `Unavailable`."""
        self._since_ms = self._clock.now_ms() - LOOK_BACK_MS
        self._letters = DeadLetters(self._bus, await self._bus.offsets_at(DEAD_LETTERS, 0, self._since_ms))
        self._readers = {
            partition: LedgerReader(self._bus, self._history, partition, self._window_ms)
            for partition in await self._bus.ends(INBOUND)
        }
        for reader in self._readers.values():
            await reader.open(self._since_ms, looks=2)

    async def round(self) -> tuple[Account, bool]:
        """Close what is due; False: there is more to read at once. Raises `Unavailable`."""
        now_ms = self._clock.now_ms()
        marks = await read_marks(self._bus)
        await self._letters.look({p: reader.ledger for p, reader in self._readers.items()})
        for partition, reader in self._readers.items():
            heads = await reader.look(marks[partition])
            self._heads.extend((head.placed.sent_at_ms, name, head) for name, head in heads.items())
            if reader.is_level(marks[partition]) and marks[partition].in_flight == 0:
                reader.until_ms = now_ms
        while len(self._heads) > _WAITING_HEADS:
            self._heads.popleft()
            self._results["unchecked"] += 1
        await self._check_deliveries()
        level = all(reader.is_level(marks[p]) for p, reader in self._readers.items())
        return self._account(marks), level

    async def _check_deliveries(self) -> None:
        """Of conversations whose newest message of some round has had its time; and of what is overdue."""
        now_ms = self._clock.now_ms()
        again = {c: said for (c, _), said in self._overdue.items()}
        due: dict[str, Said] = {}
        while self._heads and self._heads[0][0] < now_ms - self._grace_ms:
            _, conversation_id, head = self._heads.popleft()
            said = _said(head)
            if said is None or (conversation_id not in due and len(due) >= self._members):
                self._results["unchecked"] += 1
            else:
                due[conversation_id] = said
        found, unchecked = await self._deliveries.check(again | due, now_ms, self._members + len(again))
        self._results["unchecked"] += unchecked
        overdue: dict[tuple[str, str], Said] = {}
        for delivery in found:
            key = (delivery.conversation_id, delivery.arrival.user_id)
            state = delivery.arrival.state
            if state == "overdue" and len(overdue) < _OPEN:
                overdue[key] = (again | due)[delivery.conversation_id]
            elif delivery.conversation_id in due:
                self._results["waiting" if state == "waiting" else "delivered"] += 1
        self._overdue = overdue

    def _account(self, marks: dict[int, Marks]) -> Account:
        results: Counter[Result] = Counter(self._results)
        unaccounted: Counter[Between] = Counter(dict.fromkeys(BETWEEN, 0))
        findings: list[Finding] = []
        for reader in self._readers.values():
            books, counts = books_of(reader.ledger)
            unaccounted.update(counts)
            findings += books
            results.update(results_of(reader.ledger))
        unaccounted["row-delivery"] += len(self._overdue)
        findings += [_overdue_finding(c, user_id, said) for (c, user_id), said in self._overdue.items()]
        return Account(
            since_ms=self._since_ms,
            until_ms=min((reader.until_ms for reader in self._readers.values()), default=self._since_ms),
            at_ms=self._clock.now_ms(),
            results=dict(results),
            in_flight=sum(mark.in_flight for mark in marks.values()),
            unaccounted=dict(unaccounted),
            findings=findings[:_NAMED],
        )


def books_of(ledger: Ledger) -> tuple[list[Finding], Counter[Between]]:
    """What one partition's books name as unaccounted, and how many there are in each step."""
    p = ledger.partition
    findings = [
        _missing("inbound-decision", place_of(INBOUND, p, offset), "was never decided")
        for offset in ledger.decided.unaccounted()
    ]
    findings += [
        _missing("accepted-message", place_of(ACCEPTED, p, offset), "has no message")
        for offset in ledger.placed.unaccounted()
    ]
    findings += [
        Finding(
            between="message-row",
            what="missing",
            place=place_of(MESSAGES, p, placed.offset),
            text=f"seq {placed.seq} is not in the history",
            conversation_id=placed.conversation_id,
            seq=placed.seq,
        )
        for placed in ledger.missing_rows()
    ]
    findings += ledger.wrong
    counts: Counter[Between] = Counter(finding.between for finding in findings)
    counts["inbound-decision"] += ledger.decided.unnamed
    counts["accepted-message"] += ledger.placed.unnamed
    counts["message-row"] += ledger.stored.unnamed
    return findings, counts


def _missing(between: Between, place: str, text: str) -> Finding:
    return Finding(between=between, what="missing", place=place, text=text)


def results_of(ledger: Ledger) -> dict[Result, int]:
    decided, placed, stored = ledger.decided.counts, ledger.placed.counts, ledger.stored.counts
    dead = decided["dead_lettered"] + placed["dead_lettered"] + stored["dead_lettered"]
    return {
        "accepted": decided.total(),
        "rejected": decided["rejected"],
        "dead_lettered": dead,
        "sent": placed["sent"],
        "repeat": placed["repeat"],
        "stored": stored["stored"],
    }


def _said(head: Head) -> Said | None:
    try:
        message = MESSAGE.decode(head.value)
    except Undecodable:
        return None
    return Said(message.seq, message.sender, message.sent_at_ms)


def _overdue_finding(conversation_id: str, user_id: str, said: Said) -> Finding:
    return Finding(
        between="row-delivery",
        what="missing",
        place=f"{conversation_id}#{said.seq}",
        text=f"{user_id} is connected and has not acked it",
        conversation_id=conversation_id,
        seq=said.seq,
        user_id=user_id,
    )
