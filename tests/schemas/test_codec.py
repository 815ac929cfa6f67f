"""Avro: our bytes are everybody's bytes, and no bytes make a codec raise anything but Undecodable."""

from __future__ import annotations

import io
import json

import avro.io
import avro.schema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import (
    ACCEPTED,
    AUDIT,
    DECISION,
    INBOUND,
    MESSAGE,
    OUTBOUND,
    PLACES,
    POLICY,
    PRESENCE,
    RECEIPT,
    REVOCATION,
    RecordCodec,
    load_schema,
    schema_ids,
)
from schemas.errors import Undecodable
from schemas.records import (
    Audit,
    Decision,
    Inbound,
    Outbound,
    Places,
    Policy,
    PresenceChange,
    Receipt,
    Revocation,
    Rule,
)
from tests.builders import a_message, an_inbound

INBOUNDS = st.builds(
    Inbound,
    conversation_id=st.text(),
    message_id=st.text(),
    sender=st.text(),
    client_msg_id=st.text(),
    content_crc=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["text", "member", "recall"]),
    gateway_id=st.text(),
    session_id=st.text(),
    received_at_ms=st.integers(0, 2**53),
    content=st.text(),
    quote_seq=st.integers(0, 2**53),
    mentions=st.lists(st.text(), max_size=3),
)
SAMPLES = [
    (INBOUND, an_inbound(mentions=["bob"])),
    (MESSAGE, a_message(7)),
    (DECISION, Decision(5, "g:1", "m", "alice", "c", "reject", 1201, ["spam-1"], 3)),
    (RECEIPT, Receipt("g:1", "alice", 5, -1, "s", 1)),
    (OUTBOUND, Outbound("message", b"x", ["alice"], 3, 17)),
    (PLACES, Places(4, 9, ["g:tea"], ["ann"], [0], [0], ["c1"], ["m1"], [7], [1_000], [5])),
    (PRESENCE, PresenceChange("alice", "phone", "ios", "gw-1", "s1", True, 5)),
    (REVOCATION, Revocation("alice", 5, "ops")),
    (AUDIT, Audit("a1", "ann", "dlq.skip", "im.dlq", "begun", "{}", 5)),
    (POLICY, Policy(2, [Rule("r1", "abuse", "mask", ["bad"])])),
]


@given(INBOUNDS)
def test_an_inbound_survives_encoding(inbound: Inbound) -> None:
    """What is decoded equals what was encoded, whatever the text."""
    assert INBOUND.decode(INBOUND.encode(inbound)) == inbound


@pytest.mark.parametrize(("codec", "record"), SAMPLES, ids=lambda v: type(v).__name__)
def test_every_record_survives_encoding(codec: RecordCodec[msgspec.Struct], record: msgspec.Struct) -> None:
    """Each record type comes back equal."""
    assert codec.decode(codec.encode(record)) == record


def test_a_body_passes_through_the_stages_untouched() -> None:
    """A Message spliced from an Accepted spliced from an Inbound holds all numbers and the Inbound."""
    inbound = an_inbound()
    accepted = ACCEPTED.splice({"source_offset": 41}, INBOUND.split(INBOUND.encode(inbound))[2])
    prefix, decoded, body = ACCEPTED.split(accepted)
    message = MESSAGE.decode(MESSAGE.splice({"seq": 3, "source_offset": 9, "sent_at_ms": 12}, body))
    assert (prefix, decoded) == ({"source_offset": 41}, inbound)
    assert (message.seq, message.source_offset, message.sent_at_ms) == (3, 9, 12)
    assert {f: getattr(message, f) for f in Inbound.__struct_fields__} == msgspec.structs.asdict(inbound)


def test_the_reference_implementation_reads_our_bytes() -> None:
    """The `avro` package decodes what fastavro wrote, and writes the same bytes."""
    schema = avro.schema.parse(json.dumps(load_schema("inbound")))
    ours = INBOUND.encode(an_inbound())
    decoded = avro.io.DatumReader(schema).read(avro.io.BinaryDecoder(io.BytesIO(ours[5:])))
    assert msgspec.convert(decoded, Inbound) == an_inbound()
    out = io.BytesIO()
    avro.io.DatumWriter(schema).write(decoded, avro.io.BinaryEncoder(out))
    assert out.getvalue() == ours[5:]


def test_longer_records_end_with_the_fields_of_an_inbound() -> None:
    """Splicing is only sound while Accepted and Message end exactly as Inbound does."""
    body = load_schema("inbound")["fields"]
    assert load_schema("accepted")["fields"][1:] == body
    assert load_schema("message")["fields"][3:] == body


@pytest.mark.parametrize(
    "name",
    ["inbound", "accepted", "message", "decision", "receipt", "outbound", "policy", "presence", "revocation"],
)
def test_every_field_is_explained(name: str) -> None:
    """Analysts read the schema: each record and each field has a doc."""
    schema = load_schema(name)
    assert schema["doc"]
    assert all(field["doc"] for field in schema["fields"])


def test_schema_ids_are_unique() -> None:
    """An id names one schema for ever."""
    assert len(set(schema_ids().values())) == len(schema_ids())


def test_the_numbers_of_a_spliced_record_can_be_read_alone() -> None:
    """`numbers` gives what `split` gives, without the Inbound behind it."""
    body = INBOUND.split(INBOUND.encode(an_inbound()))[2]
    value = ACCEPTED.splice({"source_offset": 90_211}, body)
    assert ACCEPTED.numbers(value) == ACCEPTED.split(value)[0] == {"source_offset": 90_211}


@given(st.integers(-(2**63), 2**63 - 1))
def test_the_leading_long_is_read_as_avro_writes_it(number: int) -> None:
    """The first field of a record can be read without decoding the rest."""
    value = DECISION.encode(Decision(number, "g:a", "m", "a", "c", "accept", 0, [], 1))
    assert DECISION.leading(value) == number


@pytest.mark.parametrize("value", [None, b"", ACCEPTED.framing, ACCEPTED.framing + b"\xff" * 20])
def test_a_record_without_a_leading_long_is_undecodable(value: bytes | None) -> None:
    """Foreign, empty and endless values are refused."""
    with pytest.raises(Undecodable):
        ACCEPTED.leading(value)


@given(st.binary(max_size=200))
def test_no_bytes_break_a_decoder(junk: bytes) -> None:
    """Any bytes after a valid framing decode or raise Undecodable."""
    for codec in (INBOUND, ACCEPTED, MESSAGE):
        for value in (junk, codec.framing + junk):
            try:
                codec.split(value)
            except Undecodable:
                continue


@pytest.mark.parametrize("value", [None, b"", b"\x00", b"\x00\x00\x00\x00\x63abc", b"plain text"])
def test_a_foreign_record_is_undecodable(value: bytes | None) -> None:
    """Bytes under another schema id, or none at all, are refused by name."""
    with pytest.raises(Undecodable, match="schema id"):
        INBOUND.split(value)
