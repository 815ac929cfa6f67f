"""pipeline/moderation/request.py"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from infra.ports import Record
from pipeline.moderation.request import RecallContent, read_request
from schemas.codec import INBOUND
from schemas.conversation import MemberEvent
from schemas.errors import BadInput, Undecodable
from schemas.records import Inbound
from tests.builders import a_record, an_inbound


def a_request_record(inbound: Inbound, **fields: Any) -> Record:
    values = {"topic": "im.inbound", "key": inbound.conversation_id.encode()} | fields
    return a_record(INBOUND.encode(inbound), **values)


def test_a_request_keeps_its_own_bytes() -> None:
    """They are passed on as they are."""
    inbound = an_inbound("hi")
    request = read_request(a_request_record(inbound))
    assert request.inbound == inbound
    assert INBOUND.framing + request.body == INBOUND.encode(inbound)


def test_content_is_read_by_kind() -> None:
    """A recall knows its message, an event what it changes, everything said is an object."""
    recall = read_request(a_request_record(an_inbound(kind="recall", content='{"seq":7}')))
    assert (recall.content, recall.target_seq) == (RecallContent(7), 7)
    left = '{"action":"left","by":"alice","users":["alice"]}'
    event = read_request(a_request_record(an_inbound(conversation_id="g:tea", kind="member", content=left)))
    assert event.content == MemberEvent(action="left", by="alice", users=["alice"])
    assert event.target_seq is None
    assert read_request(a_request_record(an_inbound("hi"))).plain_content() == {"text": "hi"}


def test_content_nested_too_deeply_is_left_unread() -> None:
    """A client can send it, so it is answered and no dead letter."""
    inbound = an_inbound(kind="custom", content='{"a":' + "[" * 5_000 + "]" * 5_000 + "}")
    assert read_request(a_request_record(inbound)).content is None


@pytest.mark.parametrize(
    "fields",
    [
        {"sender": "al ice"},
        {"sender": ""},
        {"gateway_id": "gw/1"},
        {"session_id": "s\n"},
        {"client_msg_id": ""},
        {"client_msg_id": "m\n"},
        {"client_msg_id": "m" * 65},
        {"conversation_id": "d:bob:alice"},
        {"conversation_id": "x:1"},
        {"received_at_ms": -1},
        {"quote_seq": -1},
        {"mentions": ["bob", "no name"]},
        {"content": "[]"},
        {"content": "{"},
        {"kind": "recall", "content": '{"seq":0}'},
        {"kind": "recall", "content": "{}"},
        {"kind": "edit", "content": '{"seq":1,"content":"text"}'},
        {"kind": "reaction", "content": '{"seq":1,"emoji":1,"add":true}'},
        {"kind": "member", "content": '{"action":"left","by":"bob","users":["bob"]}'},
        {"kind": "member", "content": '{"action":"joined","by":"alice","users":["b b"]}'},
        {"kind": "member", "content": '{"action":"muted","by":"alice","until_ms":-5}'},
        {"kind": "member", "content": '{"action":"flew","by":"alice"}'},
        {"kind": "group", "content": '{"action":"created","by":"alice","name":""}'},
        {"kind": "group", "content": '{"action":"renamed","by":"alice"}'},
        {"kind": "group", "content": '{"action":"created","by":"alice","name":"T","members":["b:b"]}'},
    ],
)
def test_what_no_gateway_writes_is_refused(fields: dict[str, Any]) -> None:
    """Ids out of shape, foreign authors and content that does not fit its kind."""
    with pytest.raises((BadInput, Undecodable)):
        read_request(a_request_record(an_inbound(**fields)))


def test_a_foreign_key_is_refused() -> None:
    """The key decides the partition, so it must be the conversation's."""
    with pytest.raises(BadInput, match="key"):
        read_request(a_request_record(an_inbound(), key=b"d:alice:cy"))


def test_bytes_that_are_no_inbound_are_undecodable() -> None:
    """Empty, foreign or cut short."""
    for value in (None, b"", b"junk", INBOUND.encode(an_inbound())[:-3]):
        with pytest.raises(Undecodable):
            read_request(a_record(value, topic="im.inbound"))


def test_an_http_request_has_no_session() -> None:
    """Its gateway waits for the answer by client_msg_id."""
    inbound = an_inbound(session_id="")
    assert read_request(a_request_record(inbound)).inbound == msgspec.structs.replace(inbound)
