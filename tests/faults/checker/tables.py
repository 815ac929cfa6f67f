"""Pass (b), Cassandra: the rows are what the log says, no more and no less (I1, I3, I5, I8, I11, I12)."""

from __future__ import annotations

from typing import Final

from schemas.tables import BUCKET_SIZE, bucket_of
from schemas.topics import RECEIPTS
from tests.faults.checker.accounts import Accounts
from tests.faults.checker.findings import Findings
from tests.faults.checker.index import STATE_KINDS, Index
from tests.faults.checker.membership import ALWAYS
from tests.faults.checker.outbound import EPHEMERAL
from tests.faults.checker.ranges import Ranges
from tests.faults.checker.source import Source
from tests.faults.dumps import MessageRow
from tests.faults.history import mid_of

__all__ = ["Stored", "check_tables"]


class Stored:
    """Which messages have a row: seqs by conversation, and places of mids that have more than theirs."""

    def __init__(self) -> None:
        self.seqs: dict[str, Ranges] = {}
        self.unplaced: dict[str, tuple[str, int]] = {}
        """mid → (conversation, seq) of a row that the log knows nothing of."""

    def has(self, conversation: str, seq: int) -> bool:
        return conversation in self.seqs and seq in self.seqs[conversation]


def check_tables(source: Source, index: Index, accounts: Accounts, findings: Findings) -> Stored:
    """Compare every table with the log."""
    stored = Stored()
    for row in source.table("messages"):
        findings.looked_at("I1")
        if not stored.seqs.setdefault(row.conversation, Ranges()).add(row.seq):
            findings.add("I1", "two rows at one seq", **_where(row))
        _check_row(row, index, accounts, stored, findings)
    _check_all_there(index, stored, findings)
    _check_memberships(source, index, findings)
    _check_events(source, index, findings)
    _check_buckets(source, index, findings)
    _check_cursors(source, findings)
    return stored


def _check_row(row: MessageRow, index: Index, accounts: Accounts, stored: Stored, findings: Findings) -> None:
    mid = mid_of(row.sender, row.client_msg_id)
    placed = index.at(row.conversation, row.seq)
    if row.kind in EPHEMERAL:
        findings.add("I12", "ephemeral frame stored", **_where(row), kind=row.kind)
    for candidate in (mid, *row.strays):
        rejected = accounts.rejected_in(candidate)
        if rejected is not None:
            findings.add("I11", "rejected content stored", **_where(row), found=candidate, rejected=rejected)
    if placed is None or placed.mid != mid:
        stored.unplaced[mid] = (row.conversation, row.seq)
        elsewhere = index.mids.get(mid)
        anomaly = "row that the log knows nothing of" if elsewhere is None else "two rows for one message"
        findings.add(
            "I1", anomaly, **_where(row), log=placed and placed.mid, seq_in_log=elsewhere and elsewhere.seq
        )
        return
    if row.message_id != placed.message_id:
        findings.add("I1", "row with another message_id", **_where(row), log=placed.message_id)
    conversation = index.conversations[row.conversation]
    if row.seq in conversation.recalls:
        findings.looked_at("I5")
        if not row.recalled or row.digest != conversation.content_in_the_end(row.seq):
            recall = conversation.recalls[row.seq]
            findings.add(
                "I5", "stored content after its recall", **_where(row), recall_seq=recall.seq,
                recalled=row.recalled, digest=row.digest,
            )  # fmt: skip
    elif row.recalled or row.digest != conversation.content_in_the_end(row.seq):
        expected = conversation.content_in_the_end(row.seq)
        findings.add("I1", "row with other content", **_where(row), digest=row.digest, expected=expected)


def _check_all_there(index: Index, stored: Stored, findings: Findings) -> None:
    for name, conversation in index.conversations.items():
        seqs = stored.seqs.get(name) or Ranges()
        for seq in seqs.missing(1, conversation.head):
            placed = conversation.placed.get(seq)
            findings.add(
                "I1", "row missing", conversation=name, seq=seq, head=conversation.head,
                mid=placed and placed.mid, partition=placed and placed.partition,
                offset=placed and placed.offset,
            )  # fmt: skip


def _check_memberships(source: Source, index: Index, findings: Findings) -> None:
    rows = {(row.user, row.conversation): row for row in source.table("user_conversations")}
    for name, conversation in index.conversations.items():
        for user, (joined, left) in conversation.members.named.items():
            findings.looked_at("I5")
            row = rows.pop((user, name), None)
            found = None if row is None else (row.joined_seq, row.left_seq)
            # Who is added while inside, or removed while outside, may keep the place of the first event.
            since, until = (conversation.members.stays.get(user) or [(joined, left)])[-1]
            until = 0 if until == ALWAYS else until
            if found is None or found[0] not in (joined, since) or found[1] not in (left, until):
                findings.add(
                    "I5", "stored membership differs from the log", user=user, conversation=name,
                    expected=(joined, left), found=found,
                )  # fmt: skip
    for (user, name), row in rows.items():
        findings.add(
            "I5", "stored membership that the log knows nothing of", user=user, conversation=name,
            found=(row.joined_seq, row.left_seq),
        )  # fmt: skip


def _check_events(source: Source, index: Index, findings: Findings) -> None:
    found = {(row.conversation, row.seq) for row in source.table("conversation_events")}
    for message in index.mids.values():
        if message.kind in STATE_KINDS and (message.conversation, message.seq) not in found:
            findings.add(
                "I5", "membership event not stored", conversation=message.conversation, seq=message.seq,
                mid=message.mid,
            )  # fmt: skip


def _check_buckets(source: Source, index: Index, findings: Findings) -> None:
    found = {(row.conversation, row.bucket) for row in source.table("conversation_buckets")}
    for name, conversation in index.conversations.items():
        for bucket in range(bucket_of(max(conversation.head, 1)) + 1):
            if (name, bucket) not in found:
                first_seq = bucket * BUCKET_SIZE + 1
                findings.add("I1", "bucket missing", conversation=name, bucket=bucket, first_seq=first_seq)


_CURSORS: Final = ("read_seq", "delivered_seq")


def _check_cursors(source: Source, findings: Findings) -> None:
    """The highest cursor that im.receipts holds is the one that is stored: none was lost, none made up."""
    highest: dict[tuple[str, str], list[int]] = {}
    for record in source.topic(RECEIPTS):
        if not record.bad:
            cursors = highest.setdefault((record.user, record.conversation), [0, 0])
            cursors[0] = max(cursors[0], record.read_seq)
            cursors[1] = max(cursors[1], record.delivered_seq)
    rows = {(row.user, row.conversation): row for row in source.table("user_cursors")}
    for key in highest.keys() | rows.keys():
        findings.looked_at("I8")
        row = rows.get(key)
        for name, expected in zip(_CURSORS, highest.get(key, (0, 0)), strict=True):
            found = getattr(row, name) if row is not None else 0
            if found != expected:
                anomaly = (
                    "stored cursor is smaller than acked" if found < expected else "stored cursor nobody gave"
                )
                findings.add(
                    "I8",
                    anomaly,
                    user=key[0],
                    conversation=key[1],
                    cursor=name,
                    found=found,
                    expected=expected,
                )


def _where(row: MessageRow) -> dict[str, object]:
    mid = mid_of(row.sender, row.client_msg_id)
    return {"conversation": row.conversation, "seq": row.seq, "mid": mid, "message_id": row.message_id}
