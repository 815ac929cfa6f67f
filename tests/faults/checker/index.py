"""Pass (a): every message by its place and by its mid, read from im.messages by the rule every reader has.

A record whose source offset does not rise is a repeat: legal, as long as it repeats what is there.
"""

from __future__ import annotations

from sys import intern
from typing import Final

import msgspec

from schemas.topics import MESSAGES
from tests.faults.checker.findings import Findings
from tests.faults.checker.membership import Members, StateEvent
from tests.faults.checker.source import Source
from tests.faults.dumps import MessageRecord
from tests.faults.history import EMPTY, mid_of

__all__ = ["Conversation", "Index", "Placed", "read_index"]

_event: Final = msgspec.json.Decoder(StateEvent).decode
STATE_KINDS: Final = frozenset({"group", "member"})


class Placed(msgspec.Struct, gc=False):
    """A message and its place. `number` counts messages of the run from 0."""

    number: int
    conversation: str
    seq: int
    mid: str
    sender: str
    kind: str
    session: str
    digest: int
    target: int
    new_digest: int
    message_id: str
    partition: int
    offset: int
    source: int
    sent_at_ms: int


class Conversation:
    """What the log says about one conversation."""

    __slots__ = ("edits", "head", "id", "members", "placed", "recalls")

    def __init__(self, name: str) -> None:
        self.id = name
        self.head = 0
        self.placed: dict[int, Placed] = {}
        self.members = Members(name)
        self.recalls: dict[int, Placed] = {}
        """Target seq → the recall."""
        self.edits: dict[int, list[Placed]] = {}
        """Target seq → its edits, oldest first."""

    def contents(self, seq: int) -> set[int]:
        """Every digest under which the message at `seq` was ever right."""
        possible = {self.placed[seq].digest, *(edit.new_digest for edit in self.edits.get(seq, ()))}
        return possible | {EMPTY} if seq in self.recalls else possible

    def content_in_the_end(self, seq: int) -> int:
        """The digest that the stored row must have."""
        if seq in self.recalls:
            return EMPTY
        edits = self.edits.get(seq)
        return edits[-1].new_digest if edits else self.placed[seq].digest


class Index:
    """All messages of a run."""

    def __init__(self) -> None:
        self.conversations: dict[str, Conversation] = {}
        self.mids: dict[str, Placed] = {}
        self.count = 0

    def at(self, conversation: str, seq: int) -> Placed | None:
        found = self.conversations.get(conversation)
        return found.placed.get(seq) if found is not None else None

    def sees(self, user: str, message: Placed) -> bool:
        return self.conversations[message.conversation].members.sees(user, message.seq)


def read_index(source: Source, findings: Findings) -> Index:
    """Read im.messages; report what breaks I1 and I3 in it."""
    index = Index()
    newest: dict[int, int] = {}
    for record in source.topic(MESSAGES):
        if record.bad:
            continue
        findings.looked_at("I3")
        if record.source > newest.get(record.partition, -1):
            newest[record.partition] = record.source
            _place(index, record, findings)
        else:
            _check_repeat(index, record, findings)
    for conversation in index.conversations.values():
        _check_writers(conversation, findings)
    return index


def _place(index: Index, record: MessageRecord, findings: Findings) -> None:
    name = intern(record.conversation)
    conversation = index.conversations.get(name)
    if conversation is None:
        conversation = index.conversations[name] = Conversation(name)
    mid = mid_of(record.sender, record.client_msg_id)
    where = _where(record, mid)
    if record.seq != conversation.head + 1:
        anomaly = "seq given twice" if record.seq in conversation.placed else "hole in the log"
        taken = conversation.placed.get(record.seq)
        findings.add("I3", anomaly, **where, head=conversation.head, first=taken and taken.mid)
    first = index.mids.get(mid)
    if first is not None:
        findings.add(
            "I1", "one message under two seqs", **where, first_seq=first.seq, first=first.conversation
        )
        conversation.head = max(conversation.head, record.seq)
        return
    placed = Placed(
        index.count, name, record.seq, mid, intern(record.sender), intern(record.kind),
        intern(record.session), record.digest, record.target, record.new_digest, record.message_id,
        record.partition, record.offset, record.source, record.sent_at_ms,
    )  # fmt: skip
    index.count += 1
    index.mids[mid] = placed
    conversation.placed.setdefault(record.seq, placed)
    conversation.head = max(conversation.head, record.seq)
    if record.kind != "text":
        _apply(conversation, placed, record.event)


def _apply(conversation: Conversation, placed: Placed, event: str) -> None:
    if placed.kind in STATE_KINDS:
        conversation.members.apply(placed.seq, _event(event))
    elif placed.kind == "recall":
        conversation.recalls.setdefault(placed.target, placed)
    elif placed.kind == "edit":
        conversation.edits.setdefault(placed.target, []).append(placed)


def _check_repeat(index: Index, record: MessageRecord, findings: Findings) -> None:
    mid = mid_of(record.sender, record.client_msg_id)
    first = index.at(record.conversation, record.seq)
    if first is None or first.mid != mid:
        elsewhere = index.mids.get(mid)
        findings.add(
            "I3", "a repeat that differs", **_where(record, mid), there=first and first.mid,
            first_seq=elsewhere and elsewhere.seq,
        )  # fmt: skip
    elif first.digest != record.digest:
        findings.add("I3", "a repeat with other content", **_where(record, mid), first_offset=first.offset)


def _check_writers(conversation: Conversation, findings: Findings) -> None:
    """Who is outside, or blocked by the other, has nothing to say. What he said before he may recall."""
    members = conversation.members
    findings.looked_at("I5", len(conversation.placed))
    for message in conversation.placed.values():
        where = {
            "conversation": conversation.id, "seq": message.seq, "mid": message.mid, "kind": message.kind,
            "partition": message.partition, "offset": message.offset,
        }  # fmt: skip
        if not members.sees(message.sender, message.seq):
            findings.add("I5", "written by a non-member", **where, stays=members.stays.get(message.sender))
        elif members.blocks and message.kind not in STATE_KINDS | {"recall"}:
            block = members.blocked(message.sender, message.seq)
            if block is not None:
                findings.add("I5", "written after a block", **where, block_seq=block[0], by=block[1])


def _where(record: MessageRecord, mid: str) -> dict[str, object]:
    return {
        "conversation": record.conversation, "seq": record.seq, "mid": mid, "partition": record.partition,
        "offset": record.offset, "source": record.source, "message_id": record.message_id,
    }  # fmt: skip
