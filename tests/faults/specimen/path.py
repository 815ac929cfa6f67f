"""A toy of the whole path of a message: a few lists that behave as Skein promises, so that its histories are
clean. Each step is a method of its own: a planted bug replaces one, and all that follows from it follows by
itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from random import Random
from typing import Any, Final
from zlib import crc32

import msgspec

from schemas.codes import Code
from schemas.tables import bucket_of
from tests.faults import dumps
from tests.faults.dumps import MessageRow, OutboundRecord
from tests.faults.history import EMPTY, digest
from tests.faults.specimen.memory import MemoryHistory

__all__ = ["GROUPS", "PARTITIONS", "Ask", "Connection", "Path", "Placed", "Rejection"]

PARTITIONS: Final = 3
GROUPS: Final = {
    "im.moderation": "im.inbound",
    "im.sequencing": "im.accepted",
    "im.persistence": "im.messages",
    "im.fanout": "im.messages",
    "im.receipts": "im.receipts",
}


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client asked for, as the log keeps it."""

    conversation: str
    sender: str
    client_msg_id: str
    kind: str = "text"
    content: dict[str, Any] = field(default_factory=dict)
    target: int = 0
    session: str = ""
    gateway: str = ""
    message_id: str = ""
    request: str = ""

    @property
    def partition(self) -> int:
        return crc32(self.conversation.encode()) % PARTITIONS

    def said(self, offset: int) -> dict[str, Any]:
        """The fields that all three topics share."""
        edited = self.content.get("content", {}) if self.kind == "edit" else {}
        state = self.kind in ("group", "member")
        return {
            "partition": self.partition, "offset": offset, "key": self.conversation, "kind": self.kind,
            "conversation": self.conversation, "sender": self.sender, "client_msg_id": self.client_msg_id,
            "session": self.session, "gateway": self.gateway, "message_id": self.message_id,
            "digest": digest(self.content), "target": self.target, "new_digest": digest(edited),
            "event": msgspec.json.encode(self.content).decode() if state else "",
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Placed:
    """An Ask with its place, and where its im.messages record stands."""

    ask: Ask
    seq: int
    source: int
    offset: int


@dataclass(frozen=True, slots=True)
class Rejection:
    ask: Ask
    code: int


class Connection:
    """What the path knows of a client: `tests.faults.specimen.device.Device` implements it."""

    user: str
    session: str
    gateway: str
    routed: bool

    def take_message(self, placed: Placed) -> None:
        """A delivery, or the answer to an own request."""
        raise NotImplementedError

    def take_rejection(self, rejection: Rejection) -> None:
        raise NotImplementedError

    def settle(self) -> None:
        raise NotImplementedError


class Path:
    """Every stage, and the tables. `stage(group)` handles what its group has not committed yet."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.t = 1_000.0
        self.history = MemoryHistory()
        self.devices: list[Connection] = []
        self.inbound: list[list[Ask]] = [[] for _ in range(PARTITIONS)]
        self.accepted: list[list[tuple[int, Ask]]] = [[] for _ in range(PARTITIONS)]
        self.messages: list[list[Placed]] = [[] for _ in range(PARTITIONS)]
        self.receipts: list[list[tuple[str, str, int, int]]] = [[] for _ in range(PARTITIONS)]
        self.committed = {group: [0] * PARTITIONS for group in GROUPS}
        self.members: dict[str, set[str]] = {}
        self.blocks: dict[str, set[str]] = {}
        self.mids: dict[tuple[str, str], Placed | None] = {}
        self.heads: dict[str, int] = {}
        self.newest_source = [-1] * PARTITIONS
        self.told: dict[str, dict[str, list[list[int]]]] = {}
        """Fan-out's and the readers' stays: conversation → user → [first, last or 0]."""
        self.rows: dict[tuple[str, int], MessageRow] = {}
        self.order: list[tuple[str, int]] = []
        """Stored messages in the order of their storing: what sync tokens count."""
        self.cursors: dict[tuple[str, str], list[int]] = {}

    # The gateway's way up

    def publish(self, ask: Ask) -> bool:
        """Into im.inbound; whether the client may be told `accepted`."""
        log = self.inbound[ask.partition]
        self.history.topics["im.inbound"].append(dumps.InboundRecord(**ask.said(len(log))))
        log.append(ask)
        return True

    def publish_poison(self) -> None:
        """Bytes that are no record."""
        ask = Ask(f"g:poison-{self.t}", "", "", "poison")
        log = self.inbound[ask.partition]
        record = dumps.InboundRecord(partition=ask.partition, offset=len(log), bad="not an Inbound")
        self.history.topics["im.inbound"].append(record)
        log.append(ask)

    def publish_receipt(self, user: str, conversation: str, read: int, delivered: int) -> None:
        partition = crc32(conversation.encode()) % PARTITIONS
        log = self.receipts[partition]
        record = dumps.ReceiptRecord(
            partition=partition, offset=len(log), conversation=conversation, user=user, read_seq=read,
            delivered_seq=delivered,
        )  # fmt: skip
        self.history.topics["im.receipts"].append(record)
        log.append((user, conversation, read, delivered))

    # Moderation

    def moderate(self, partition: int, offset: int) -> None:
        ask = self.inbound[partition][offset]
        if ask.kind == "poison":
            self.bury(partition, offset)
            return
        key = (ask.sender, ask.client_msg_id)
        code = 0 if key in self.mids else self.judge(ask)
        self.decide(ask, offset, code)
        if code:
            self.answer_rejected(Rejection(ask, code))
            return
        if key not in self.mids:
            self.mids[key] = None
            self.change_state(ask)
        self.accept(ask, offset)

    def bury(self, partition: int, offset: int) -> None:
        topic = self.history.topics["im.dlq"]
        letter = dumps.DeadLetterRecord(
            partition=0, offset=len(topic), stage="moderation", topic="im.inbound",
            source_partition=partition, source=offset,
        )  # fmt: skip
        topic.append(letter)

    def judge(self, ask: Ask) -> int:
        """0, or why not."""
        members = self.members_of(ask.conversation)
        if ask.sender not in members and ask.content.get("action") != "created":
            return Code.NOT_A_MEMBER
        if self.blocks.get(ask.conversation, set()) - {ask.sender} and ask.kind not in ("member", "recall"):
            return Code.BLOCKED
        return Code.MODERATED if ask.content.get("forbidden") else 0

    def members_of(self, conversation: str) -> set[str]:
        if conversation not in self.members:
            direct = conversation.split(":")[1:] if conversation.startswith("d:") else []
            self.members[conversation] = set(direct)
        return self.members[conversation]

    def change_state(self, ask: Ask) -> None:
        members, content = self.members_of(ask.conversation), ask.content
        match content.get("action"):
            case "created":
                members.update([ask.sender, *content["members"]])
            case "joined":
                members.update(content["users"])
            case "removed" | "left":
                members.difference_update(content["users"])
            case "blocked":
                self.blocks.setdefault(ask.conversation, set()).add(ask.sender)
            case "unblocked":
                self.blocks.setdefault(ask.conversation, set()).discard(ask.sender)

    def decide(self, ask: Ask, offset: int, code: int) -> None:
        topic = self.history.topics["im.moderation"]
        record = dumps.DecisionRecord(
            partition=ask.partition, offset=len(topic), source=offset, conversation=ask.conversation,
            sender=ask.sender, client_msg_id=ask.client_msg_id, verdict="reject" if code else "accept",
            code=code,
        )  # fmt: skip
        topic.append(record)

    def accept(self, ask: Ask, source: int) -> None:
        log = self.accepted[ask.partition]
        self.history.topics["im.accepted"].append(dumps.AcceptedRecord(**ask.said(len(log)), source=source))
        log.append((source, ask))

    # Sequencing

    def sequence(self, partition: int, offset: int) -> None:
        source, ask = self.accepted[partition][offset]
        if source <= self.newest_source[partition]:
            return
        self.newest_source[partition] = source
        first = self.mids.get((ask.sender, ask.client_msg_id))
        if first is not None:
            self.answer_sent(replace(first, ask=replace(first.ask, session=ask.session)))
            return
        self.place(ask, offset)

    def place(self, ask: Ask, offset: int) -> None:
        seq = self.heads[ask.conversation] = self.heads.get(ask.conversation, 0) + 1
        placed = self.log_message(ask, seq, offset)
        self.mids[ask.sender, ask.client_msg_id] = placed

    def log_message(self, ask: Ask, seq: int, source: int) -> Placed:
        log = self.messages[ask.partition]
        placed = Placed(ask, seq, source, len(log))
        record = dumps.MessageRecord(
            **ask.said(len(log)), source=source, seq=seq, sent_at_ms=int(1_000 * self.t)
        )
        self.history.topics["im.messages"].append(record)
        log.append(placed)
        return placed

    # Persistence

    def store(self, placed: Placed) -> None:
        """Idempotent, as every row is."""
        ask, key = placed.ask, (placed.ask.conversation, placed.seq)
        if key not in self.rows:
            self.order.append(key)
            self.rows[key] = MessageRow(
                conversation=ask.conversation, seq=placed.seq, bucket=bucket_of(placed.seq), kind=ask.kind,
                message_id=ask.message_id, sender=ask.sender, client_msg_id=ask.client_msg_id,
                digest=digest(ask.content),
            )  # fmt: skip
        if ask.kind in ("recall", "edit"):
            self.store_change(placed)

    def store_change(self, placed: Placed) -> None:
        key = (placed.ask.conversation, placed.ask.target)
        row = self.rows[key]
        if placed.ask.kind == "recall":
            self.rows[key] = msgspec.structs.replace(row, digest=EMPTY, recalled=True)
        elif not row.recalled:
            edited = digest(placed.ask.content["content"])
            self.rows[key] = msgspec.structs.replace(row, digest=edited, edited=True)

    # Fan-out and the gateway's way down

    def fan_out(self, placed: Placed) -> None:
        ask = placed.ask
        self.change_stays(placed)
        users = sorted(self.audience(placed))
        for gateway in sorted({device.gateway for device in self.devices if device.user in users}):
            self.publish_outbound(gateway, placed, users)
        for device in self.devices:
            if device.user in users and (device.routed or device.session == ask.session):
                self.hand_over(device, placed)

    def publish_outbound(self, gateway: str, placed: Placed, users: list[str]) -> None:
        ask, topic = placed.ask, self.history.outbound(gateway)
        record = OutboundRecord(
            partition=0, offset=len(topic), kind="message", users=users, session=ask.session,
            source_partition=ask.partition, source=placed.offset, conversation=ask.conversation,
            seq=placed.seq, sender=ask.sender, client_msg_id=ask.client_msg_id, message_kind=ask.kind,
        )  # fmt: skip
        topic.append(record)

    def hand_over(self, device: Connection, placed: Placed) -> None:
        device.take_message(placed)

    def stays(self, conversation: str) -> dict[str, list[list[int]]]:
        if conversation not in self.told:
            direct = conversation.split(":")[1:] if conversation.startswith("d:") else []
            self.told[conversation] = {user: [[0, 0]] for user in direct}
        return self.told[conversation]

    def stays_of(self, user: str) -> list[str]:
        """The conversations that this user is or was in."""
        return [conversation for conversation, stays in self.told.items() if user in stays]

    def change_stays(self, placed: Placed) -> None:
        stays, content = self.stays(placed.ask.conversation), placed.ask.content
        action, users = content.get("action"), list(content.get("users", ()))
        if action == "created":
            action, users = "joined", [placed.ask.sender, *content["members"]]
        for user in users:
            mine = stays.get(user, [])
            inside = bool(mine) and mine[-1][1] == 0
            if action == "joined" and not inside:
                stays.setdefault(user, []).append([placed.seq, 0])
            elif action in ("removed", "left") and inside:
                mine[-1][1] = placed.seq

    def audience(self, placed: Placed) -> set[str]:
        conversation = placed.ask.conversation
        return {user for user in self.stays(conversation) if self.sees(user, conversation, placed.seq)}

    def sees(self, user: str, conversation: str, seq: int) -> bool:
        stays = self.stays(conversation).get(user, [])
        return any(first <= seq and (last == 0 or seq <= last) for first, last in stays)

    def answer_sent(self, placed: Placed) -> None:
        for device in self.devices:
            if device.session == placed.ask.session:
                device.take_message(placed)

    def answer_rejected(self, rejection: Rejection) -> None:
        for device in self.devices:
            if device.session == rejection.ask.session:
                device.take_rejection(rejection)

    # Receipts

    def merge_receipt(self, user: str, conversation: str, read: int, delivered: int) -> None:
        cursors = self.cursors.setdefault((user, conversation), [0, 0])
        cursors[0] = max(cursors[0], read)
        cursors[1] = max(cursors[1], delivered)

    # What readers get

    def read(self, conversation: str, seq: int) -> MessageRow:
        """A stored message as it is now."""
        return self.rows[conversation, seq]

    def changed_since(self, user: str, token: int) -> list[tuple[str, int]]:
        """(conversation, seq) of what was stored since a token, in the order of a sync."""
        return sorted(place for place in self.order[token:] if self.sees(user, *place))

    def before(self, user: str, conversation: str, seq: int, limit: int) -> list[int]:
        """The newest `limit` stored seqs before this one that the user may read, newest first."""
        readable = (
            earlier
            for earlier in range(seq - 1, 0, -1)
            if (conversation, earlier) in self.rows and self.sees(user, conversation, earlier)
        )
        return list(islice(readable, limit))

    def unacknowledged(self, window: list[tuple[int, Placed]]) -> list[tuple[int, Placed]]:
        """What a resumed session delivers again."""
        return list(window)

    def read_cursor(self, user: str, conversation: str) -> int:
        return self.cursors.get((user, conversation), [0, 0])[0]

    def told_cursor(self, listener: Connection, user: str, conversation: str) -> int:
        """The read cursor in a receipt frame."""
        assert listener.session
        return self.read_cursor(user, conversation)

    def listed_cursor(self, user: str, conversation: str) -> int:
        """The read cursor as the conversation list has it."""
        return self.read_cursor(user, conversation)

    def presence(self, subscribed: str) -> str:
        """Whose presence a subscriber is told."""
        return subscribed

    def hears_typing(self, user: str, conversation: str) -> bool:
        return user in self.members_of(conversation)

    # Every stage

    def stage(self, group: str) -> None:
        """Handle everything up to the end, then commit."""
        for partition in range(PARTITIONS):
            end = self.end(GROUPS[group], partition)
            for offset in range(self.committed[group][partition], end):
                self.handle(group, partition, offset)
            self.committed[group][partition] = end

    def end(self, topic: str, partition: int) -> int:
        """How many records a partition holds."""
        match topic:
            case "im.inbound":
                return len(self.inbound[partition])
            case "im.accepted":
                return len(self.accepted[partition])
            case "im.receipts":
                return len(self.receipts[partition])
        return len(self.messages[partition])

    def handle(self, group: str, partition: int, offset: int) -> None:
        match group:
            case "im.moderation":
                self.moderate(partition, offset)
            case "im.sequencing":
                self.sequence(partition, offset)
            case "im.persistence":
                self.store(self.messages[partition][offset])
            case "im.fanout":
                self.fan_out(self.messages[partition][offset])
            case _:
                self.merge_receipt(*self.receipts[partition][offset])

    def pump(self) -> None:
        """Let everything come through."""
        for group in GROUPS:
            self.stage(group)

    def wait_for_stragglers(self) -> None:
        """The load is over, and nothing is left to come through."""

    def settle(self, device: Connection) -> None:
        """A reader catches up."""
        device.settle()

    def finished(self) -> None:
        """The dumps are made."""
