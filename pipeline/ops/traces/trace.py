"""What became of one message: a story made of what the topics, the history and Redis know about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from infra.ports import Record
from pipeline.ops.accounts.arrival import Arrival
from pipeline.ops.accounts.findings import place_of
from schemas.codes import Code
from schemas.records import Decision, Inbound, Message, Outbound
from schemas.tables import HistoryRow

__all__ = ["Evidence", "Hop", "Outcome", "Sending", "Trace", "span_of", "trace_of"]

Outcome = Literal["sent", "rejected", "repeat", "dead_lettered", "in_flight", "lost", "unknown"]
"""`lost`: a stage has committed past it and left nothing. `unknown`: no record of it was found."""

_SAMPLED = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f][13579bdf]")


class Sending(msgspec.Struct, frozen=True):
    """One fan-out record: for which gateway, and whom it names."""

    gateway_id: str
    record: Record
    outbound: Outbound


class Evidence(msgspec.Struct, kw_only=True):
    """All that was found. A `None` was looked for and is not there."""

    message_id: str
    made_at_ms: int
    inbound: Record | None = None
    asked: Inbound | None = None
    decision: Record | None = None
    decided: Decision | None = None
    accepted: Record | None = None
    message: Record | None = None
    sent: Message | None = None
    first: Message | None = None
    """The earlier message of this client_msg_id, if this one is a repeat."""
    row: HistoryRow | None = None
    letters: Sequence[tuple[str, str]] = ()
    """(stage, reason) of its dead letters."""
    waits_for: str = ""
    """The first stage that has not committed past it."""
    sendings: Sequence[Sending] = ()
    arrivals: Sequence[Arrival] = ()
    unlisted: int = 0
    """Members that were not asked about."""


class Hop(msgspec.Struct, frozen=True):
    """One step of the message. `after_ms` counts from when the gateway made its id; -1: not known."""

    after_ms: int
    by: str
    what: str
    place: str
    text: str = ""


class Trace(msgspec.Struct, frozen=True):
    """The story, and for each member whether it arrived, or why not."""

    message_id: str
    outcome: Outcome
    conversation_id: str
    seq: int
    sender: str
    made_at_ms: int
    trace_id: str
    """Of the OpenTelemetry trace; empty if it was not sampled."""
    hops: list[Hop]
    arrivals: list[Arrival]
    unlisted: int

    @property
    def is_finding(self) -> bool:
        """Whether something is wrong: nothing known, nothing left, or a connected member without it."""
        if self.outcome in ("lost", "unknown"):
            return True
        stored = self.outcome != "sent" or any(hop.what == "stored" for hop in self.hops)
        return not stored or any(arrival.state == "overdue" for arrival in self.arrivals)


def trace_of(found: Evidence) -> Trace:
    """Put the hops in their order and name the outcome."""
    asked = found.asked
    hops: list[Hop] = []
    if found.inbound is not None and asked is not None:
        hops.append(_hop(found, asked.gateway_id, "accepted", found.inbound, f"{_bytes(found.inbound)} B"))
    hops += _decision_hops(found)
    hops += [Hop(-1, stage, "dead letter", "im.dlq", reason) for stage, reason in found.letters]
    hops += _message_hops(found)
    if found.waits_for:
        hops.append(Hop(-1, found.waits_for, "waits", "", "this stage has not committed past it yet"))
    return Trace(
        message_id=found.message_id,
        outcome=_outcome(found),
        conversation_id=asked.conversation_id if asked else "",
        seq=found.sent.seq if found.sent else 0,
        sender=asked.sender if asked else "",
        made_at_ms=found.made_at_ms,
        trace_id=span_of(found.inbound.headers) if found.inbound else "",
        hops=hops,
        arrivals=list(found.arrivals),
        unlisted=found.unlisted,
    )


def span_of(headers: Sequence[tuple[str, bytes]]) -> str:
    """The trace id of a W3C `traceparent` whose sampled flag is set; else empty."""
    match = _SAMPLED.fullmatch(dict(headers).get("traceparent", b"").decode(errors="replace"))
    return match[1] if match is not None else ""


def _outcome(found: Evidence) -> Outcome:
    if found.sent is not None:
        return "sent"
    if found.first is not None:
        return "repeat"
    if found.letters:
        return "dead_lettered"
    if found.accepted is None and found.decided is not None and found.decided.verdict == "reject":
        return "rejected"
    if found.inbound is None:
        return "unknown"
    return "in_flight" if found.waits_for else "lost"


def _decision_hops(found: Evidence) -> list[Hop]:
    hops = []
    if found.decision is not None and found.decided is not None:
        decided = found.decided
        rules = f"policy {decided.policy_version}, rules: {', '.join(decided.rules) or 'none'}"
        if decided.verdict == "reject":
            rules = f"{decided.code} {_code_name(decided.code)}, {rules}"
        hops.append(_hop(found, "moderation", _VERDICTS[decided.verdict], found.decision, rules))
    if found.accepted is not None:
        hops.append(_hop(found, "moderation", "passed on", found.accepted))
    if found.first is not None and found.asked is not None:
        same = found.first.content_crc == found.asked.content_crc
        answer = f"answered with its place #{found.first.seq}" if same else "rejected: other content, same id"
        hops.append(Hop(-1, "sequencing", "repeat", "", f"{answer}, message {found.first.message_id}"))
    return hops


_VERDICTS = {"accept": "passed", "mask": "masked", "reject": "rejected"}


def _message_hops(found: Evidence) -> list[Hop]:
    if found.message is None or found.sent is None:
        return []
    sent = found.sent
    hops = [_hop(found, "sequencing", "sequenced", found.message, f"#{sent.seq}")]
    if found.row is not None:
        changed = "recalled" if found.row.recalled else "edited" if found.row.edited_at_ms else ""
        hops.append(
            Hop(-1, "persistence", "stored", f"messages({sent.conversation_id}, {sent.seq})", changed)
        )
    elif not found.waits_for:
        hops.append(Hop(-1, "persistence", "not stored", "", "no row, and persistence has passed it"))
    for sending in found.sendings:
        named = len(sending.outbound.users)
        plan = f"read: expanded there, {named} named" if sending.outbound.expand else f"write: {named} named"
        hops.append(_hop(found, "fanout", f"to {sending.gateway_id}", sending.record, plan))
    if not found.sendings:
        text = "no record for any gateway (they are kept for an hour)"
        hops.append(Hop(-1, "fanout", "no record", "", text))
    acks = [
        a.at_ms - found.made_at_ms for a in found.arrivals if a.state in ("delivered", "read") and a.at_ms
    ]
    if acks:
        hops.append(Hop(max(acks), "gateways", "acked", "im.receipts", f"{len(acks)} with a known time"))
    return hops


def _hop(found: Evidence, by: str, what: str, record: Record, text: str = "") -> Hop:
    place = place_of(record.topic, record.partition, record.offset)
    return Hop(record.timestamp_ms - found.made_at_ms, by, what, place, text)


def _bytes(record: Record) -> int:
    return len(record.value or b"")


def _code_name(code: int) -> str:
    return next((known.wire_name for known in Code if int(known) == code), "unknown code")
