"""Pass (b) and (c), the topics of the gateways: whom fan-out addressed (I5), and with what (I11, I12)."""

from __future__ import annotations

from typing import Any, Final

from tests.faults.checker.accounts import Accounts
from tests.faults.checker.findings import Findings
from tests.faults.checker.index import Index
from tests.faults.checker.source import Source
from tests.faults.dumps import OutboundRecord
from tests.faults.history import mid_of

__all__ = ["check_outbound"]

EPHEMERAL: Final = frozenset({"typing", "presence", "receipt"})


def check_outbound(source: Source, index: Index, accounts: Accounts, findings: Findings) -> None:
    """Every message that fan-out handed to a gateway was for the users named with it."""
    for topic in source.outbound_topics():
        for record in source.topic(topic):
            if record.bad:
                continue
            where = {"topic": topic, "partition": record.partition, "offset": record.offset}
            _check_forbidden(record, where, accounts, findings)
            if record.kind == "message":
                _check_audience(record, where, index, findings)
            elif record.frame in EPHEMERAL:
                findings.looked_at("I12")
                if not record.ephemeral:
                    findings.add("I12", "ephemeral frame kept like a message", **where, frame=record.frame)


def _check_forbidden(
    record: OutboundRecord, where: dict[str, Any], accounts: Accounts, findings: Findings
) -> None:
    own = [mid_of(record.sender, record.client_msg_id)] if record.kind == "message" else []
    for mid in (*own, *record.strays):
        rejected = accounts.rejected_in(mid)
        if rejected is not None:
            findings.add("I11", "rejected content in an outbound topic", **where, mid=mid, rejected=rejected)


def _check_audience(record: OutboundRecord, where: dict[str, Any], index: Index, findings: Findings) -> None:
    placed = index.at(record.conversation, record.seq)
    mid = mid_of(record.sender, record.client_msg_id)
    if placed is None or placed.mid != mid:
        findings.add(
            "I3", "fanned out what the log lacks", **where, conversation=record.conversation, seq=record.seq,
            mid=mid, there=placed and placed.mid,
        )  # fmt: skip
        return
    members = index.conversations[record.conversation].members
    findings.looked_at("I5", len(record.users))
    for user in record.users:
        if not members.sees(user, record.seq):
            findings.add(
                "I5", "fanned out to a non-member", **where, conversation=record.conversation, seq=record.seq,
                mid=mid, user=user, stays=members.stays.get(user),
            )  # fmt: skip
