"""dump_topics.py and dump_tables.py: every record keeps its place, and the ring is covered once."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from infra.ports import Record
from schemas.codec import INBOUND, MESSAGE
from schemas.records import Inbound
from tests.faults.dump_tables import token_ranges
from tests.faults.dump_topics import line_of
from tests.faults.history import canary, digest


def inbound(content: dict[str, object], sender: str = "ann", name: str = "a.1") -> Inbound:
    return Inbound(
        kind="text",
        gateway_id="gw-1",
        conversation_id="d:ann:bob",
        message_id="m",
        sender=sender,
        client_msg_id=name,
        content_crc=1,
        session_id="s",
        received_at_ms=1,
        content=msgspec.json.encode(content).decode(),
    )


def record(topic: str, value: bytes | None) -> Record:
    return Record(topic, 2, 7, 1_000, b"d:ann:bob", value)


def test_a_record_is_written_with_its_place_and_what_it_says() -> None:
    """Its own canary is no stray, another's is."""
    content: dict[str, object] = {"text": canary("ann", "a.1") + canary("eve", "x")}
    line = line_of("im.inbound", record("im.inbound", INBOUND.encode(inbound(content))))
    assert (line.partition, line.offset, line.sender, line.client_msg_id) == (2, 7, "ann", "a.1")
    assert line.digest == digest(content)
    assert line.strays == ["eve/x"]
    assert line.bad == ""


def test_a_message_has_its_seq_and_source() -> None:
    """The numbers before the Inbound's bytes."""
    _, _, body = INBOUND.split(INBOUND.encode(inbound({"text": "hi"})))
    value = MESSAGE.splice({"seq": 3, "source_offset": 5, "sent_at_ms": 9}, body)
    line = line_of("im.messages", record("im.messages", value))
    assert (line.seq, line.source, line.sent_at_ms) == (3, 5, 9)


def test_what_cannot_be_decoded_keeps_its_place() -> None:
    """Poison is accounted for, too."""
    for value in (None, b"", b"\x00\x00", b"noise"):
        line = line_of("im.outbound.gw-1", record("im.outbound.gw-1", value))
        assert (line.partition, line.offset) == (2, 7)
        assert line.bad


def test_token_ranges_cover_the_ring_once() -> None:
    """Each range begins where the one before ends."""
    ranges = token_ranges(16)
    assert ranges[0][0] == -(2**63)
    assert ranges[-1][1] == 2**63 - 1
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
