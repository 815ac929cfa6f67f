"""The topics as they stand at the end of a run, record by record, as lines of `tests/faults/dumps.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from infra.ports import Bus, Record
from schemas import topics
from schemas.codec import ACCEPTED, DECISION, INBOUND, MESSAGE, OUTBOUND, RECEIPT
from schemas.errors import Undecodable
from schemas.records import STATE_KINDS, Inbound, Message
from tests.faults import dumps
from tests.faults.dumps import TopicEnd
from tests.faults.folder import Folder, Lines
from tests.faults.history import canaries, digest, mid_of

__all__ = ["TOPICS", "dump_topics", "line_of"]

OUTBOUND_TOPIC: Final = "im.outbound"
ORIGIN: Final = "__streams.errors."
TOPICS: Final = (
    topics.INBOUND,
    topics.ACCEPTED,
    topics.MODERATION,
    topics.MESSAGES,
    topics.RECEIPTS,
    topics.DEAD_LETTERS,
)


async def dump_topics(bus: Bus, folder: Folder, gateways: Sequence[str]) -> None:
    """Write every record of every topic, and where each partition began and ended."""
    ends: list[TopicEnd] = []
    for topic in (*TOPICS, *(topics.outbound_topic(gateway).name for gateway in gateways)):
        with Lines(Path(folder.path, "topics", f"{topic}.jsonl"), live=False) as lines:
            for partition, end in sorted((await bus.ends(topic)).items()):
                first: list[int] = []
                take = partial(_write, lines, topic, first)
                await bus.read_range(topic, partition, 0, end, take)
                start = first[0] if first else end
                ends.append(TopicEnd(topic=topic, partition=partition, start=start, end=end))
    folder.dump("ends", ends)


def _write(lines: Lines, topic: str, first: list[int], records: Sequence[Record]) -> None:
    if not first:
        first.append(records[0].offset)
    for record in records:
        lines.write(line_of(topic, record))


def line_of(topic: str, record: Record) -> Any:
    """One record; what cannot be decoded keeps its place."""
    shape, read = _READERS[OUTBOUND_TOPIC if topic.startswith(f"{OUTBOUND_TOPIC}.") else topic]
    place = {
        "partition": record.partition,
        "offset": record.offset,
        "key": (record.key or b"").decode(errors="replace"),
        "at_ms": record.timestamp_ms,
    }
    try:
        return shape(**place, **read(record))
    except (Undecodable, msgspec.DecodeError) as error:
        return shape(**place, bad=str(error)[:200] or type(error).__name__)


def _inbound(record: Record) -> dict[str, Any]:
    return _said(INBOUND.decode(record.value), record.value)


def _accepted(record: Record) -> dict[str, Any]:
    numbers, inbound, _ = ACCEPTED.split(record.value)
    return {**_said(inbound, record.value), "source": numbers["source_offset"]}


def _message(record: Record) -> dict[str, Any]:
    message = MESSAGE.decode(record.value)
    return {
        **_said(message, record.value),
        "source": message.source_offset,
        "seq": message.seq,
        "sent_at_ms": message.sent_at_ms,
    }


def _said(said: Inbound | Message, value: bytes | None) -> dict[str, Any]:
    content = msgspec.json.decode(said.content)
    own = mid_of(said.sender, said.client_msg_id)
    return {
        "strays": [mid for mid in dict.fromkeys(canaries(value or b"")) if mid != own],
        "conversation": said.conversation_id,
        "sender": said.sender,
        "client_msg_id": said.client_msg_id,
        "session": said.session_id,
        "gateway": said.gateway_id,
        "message_id": said.message_id,
        "kind": said.kind,
        "digest": digest(content),
        "target": content.get("seq", 0) if said.kind in ("recall", "edit", "reaction") else 0,
        "new_digest": digest(content.get("content")) if said.kind == "edit" else 0,
        "event": said.content if said.kind in STATE_KINDS else "",
    }


def _decision(record: Record) -> dict[str, Any]:
    decision = DECISION.decode(record.value)
    return {
        "strays": canaries(record.value or b""),
        "source": decision.source_offset,
        "conversation": decision.conversation_id,
        "sender": decision.sender,
        "client_msg_id": decision.client_msg_id,
        "verdict": decision.verdict,
        "code": decision.code,
    }


def _receipt(record: Record) -> dict[str, Any]:
    receipt = RECEIPT.decode(record.value)
    return {
        "strays": canaries(record.value or b""),
        "conversation": receipt.conversation_id,
        "user": receipt.user_id,
        "delivered_seq": receipt.delivered_seq,
        "read_seq": receipt.read_seq,
    }


def _dead_letter(record: Record) -> dict[str, Any]:
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    return {
        "headers": headers,
        "stage": headers.get("im-stage", ""),
        "topic": headers.get(f"{ORIGIN}topic", ""),
        "source_partition": int(headers.get(f"{ORIGIN}partition", -1)),
        "source": int(headers.get(f"{ORIGIN}offset", -1)),
        "why": headers.get(f"{ORIGIN}message", ""),
    }


def _outbound(record: Record) -> dict[str, Any]:
    outbound = OUTBOUND.decode(record.value)
    fields = {
        "kind": outbound.kind,
        "users": outbound.users,
        "expand": outbound.expand,
        "ephemeral": outbound.ephemeral,
        "session": outbound.session_id,
        "not_session": outbound.not_session_id,
        "source_partition": outbound.source_partition,
        "source": outbound.source_offset,
    }
    found = canaries(record.value or b"")
    if outbound.kind != "message":
        frame = msgspec.json.decode(outbound.body) if outbound.kind == "frame" else {}
        return {**fields, "frame": frame.get("type", ""), "strays": found}
    message = MESSAGE.decode(outbound.body)
    own = mid_of(message.sender, message.client_msg_id)
    return {
        **fields,
        "strays": [mid for mid in dict.fromkeys(found) if mid != own],
        "conversation": message.conversation_id,
        "seq": message.seq,
        "sender": message.sender,
        "client_msg_id": message.client_msg_id,
        "message_kind": message.kind,
    }


_READERS: Final[Mapping[str, tuple[Any, Callable[[Record], dict[str, Any]]]]] = {
    topics.INBOUND: (dumps.InboundRecord, _inbound),
    topics.ACCEPTED: (dumps.AcceptedRecord, _accepted),
    topics.MESSAGES: (dumps.MessageRecord, _message),
    topics.MODERATION: (dumps.DecisionRecord, _decision),
    topics.RECEIPTS: (dumps.ReceiptRecord, _receipt),
    topics.DEAD_LETTERS: (dumps.DeadLetterRecord, _dead_letter),
    OUTBOUND_TOPIC: (dumps.OutboundRecord, _outbound),
}
