"""Client frame → Inbound."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.requests import MAX_TEXT_BYTES, Author, inbound_of, is_request
from schemas.codec import INBOUND
from schemas.codes import Code
from schemas.errors import Refused
from schemas.frames import JSON, MSGPACK, ClientFrame
from schemas.ids import time_of_message_id_ms
from schemas.records import Inbound

ALICE = Author("alice", "gw-1", "s1")


def asked(**frame: Any) -> Inbound:
    """What becomes of this frame, sent as JSON by alice."""
    return inbound_of(JSON.parse_client(msgspec.json.encode(frame)), ALICE, 1_000)  # type: ignore[arg-type]


def said(kind: str = "text", content: Any = None, **more: Any) -> Inbound:
    content = {"text": "hi"} if content is None else content
    values = {"client_msg_id": "m1", "conversation_id": "d:alice:bob", "kind": kind, "content": content}
    return asked(type="send", **(values | more))


def refusal(**frame: Any) -> Code:
    with pytest.raises(Refused) as refused:
        asked(**frame)
    return refused.value.code


def test_a_send_keeps_what_was_said() -> None:
    """Sender, gateway and session are the server's; content, quote and mentions the client's."""
    inbound = said(quote={"seq": 4}, mentions=["bob"])
    assert (inbound.sender, inbound.gateway_id, inbound.session_id) == ("alice", "gw-1", "s1")
    assert (inbound.content, inbound.quote_seq, inbound.mentions) == ('{"text":"hi"}', 4, ["bob"])
    assert (inbound.client_msg_id, inbound.received_at_ms) == ("m1", 1_000)
    assert time_of_message_id_ms(inbound.message_id) > 0


def test_the_same_content_has_the_same_crc_and_other_content_another() -> None:
    """So that a repeat is told from another message under the same id."""
    assert said().content_crc == said().content_crc
    assert said().content_crc != said(content={"text": "ho"}).content_crc
    assert said("custom", {"text": "hi"}).content_crc != said("text", {"text": "hi"}).content_crc


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text", {}),
        ("text", {"text": ""}),
        ("text", {"text": 7}),
        ("text", {"text": "x" * (MAX_TEXT_BYTES + 1)}),
        ("text", {"text": "é" * (MAX_TEXT_BYTES // 2 + 1)}),
        ("image", {}),
        ("image", {"url": "u"}),
        ("file", {"url": "", "size_bytes": 1}),
        ("file", {"url": "u", "size_bytes": -1}),
        ("voice", {"url": "u", "size_bytes": "1"}),
        ("video", {"url": "u", "size_bytes": True}),
        ("video", {"url": "u" * 3_000, "size_bytes": 1}),
    ],
)
def test_content_must_fit_its_kind(kind: str, content: dict[str, Any]) -> None:
    """A text says something and is bounded; media name where they are and how large."""
    with pytest.raises(Refused) as refused:
        said(kind, content)
    assert refused.value.code is Code.BAD_FRAME


def test_content_that_fits_is_taken() -> None:
    """The largest text, media with extras, and anything as custom."""
    assert len(said(content={"text": "x" * MAX_TEXT_BYTES}).content) == MAX_TEXT_BYTES + 11
    assert said("image", {"url": "https://x/y", "size_bytes": 0, "width": 3}).kind == "image"
    assert said("custom", {"anything": [1, {"at": None}]}).content == '{"anything":[1,{"at":null}]}'


@pytest.mark.parametrize(
    ("conversation_id", "code"),
    [
        ("d:bob:alice", Code.BAD_FRAME),
        ("d:alice:alice", Code.BAD_FRAME),
        ("d:alice", Code.BAD_FRAME),
        ("d:a:b:c", Code.BAD_FRAME),
        ("g:a:b", Code.BAD_FRAME),
        ("d:bob:carol", Code.NO_SUCH_CONVERSATION),
    ],
)
def test_a_conversation_must_be_named_rightly(conversation_id: str, code: Code) -> None:
    """Unsorted users are a bad frame; a direct conversation of two others does not exist."""
    frame = {"client_msg_id": "m", "kind": "text", "content": {"text": "x"}}
    assert refusal(type="send", conversation_id=conversation_id, **frame) is code


@pytest.mark.parametrize(
    ("frame", "kind", "content"),
    [
        ({"type": "recall", "seq": 3}, "recall", {"seq": 3}),
        (
            {"type": "edit", "seq": 3, "content": {"text": "ho"}},
            "edit",
            {"seq": 3, "content": {"text": "ho"}},
        ),
        (
            {"type": "react", "seq": 3, "emoji": "👍", "add": False},
            "reaction",
            {"seq": 3, "emoji": "👍", "add": False},
        ),
    ],
)
def test_changes_to_a_message_are_events(frame: dict[str, Any], kind: str, content: dict[str, Any]) -> None:
    """recall, edit and react name the message they are about."""
    inbound = asked(client_msg_id="m", conversation_id="g:team", **frame)
    assert inbound.kind == kind
    assert msgspec.json.decode(inbound.content) == content


@pytest.mark.parametrize(
    ("frame", "kind", "event"),
    [
        (
            {"type": "group.rename", "name": "New"},
            "group",
            {"action": "renamed", "by": "alice", "name": "New"},
        ),
        (
            {"type": "group.add", "members": ["bob", "carol", "bob"]},
            "member",
            {"action": "joined", "by": "alice", "users": ["bob", "carol"]},
        ),
        (
            {"type": "group.remove", "members": ["bob"]},
            "member",
            {"action": "removed", "by": "alice", "users": ["bob"]},
        ),
        ({"type": "group.leave"}, "member", {"action": "left", "by": "alice", "users": ["alice"]}),
        (
            {"type": "group.role", "user_id": "bob", "role": "admin"},
            "member",
            {"action": "role", "by": "alice", "users": ["bob"], "role": "admin"},
        ),
        (
            {"type": "group.mute", "until_ms": 9},
            "member",
            {"action": "muted", "by": "alice", "users": [], "until_ms": 9},
        ),
        (
            {"type": "group.mute", "until_ms": 0, "user_id": "bob"},
            "member",
            {"action": "muted", "by": "alice", "users": ["bob"], "until_ms": 0},
        ),
    ],
)
def test_group_requests_are_events(frame: dict[str, Any], kind: str, event: dict[str, Any]) -> None:
    """`by` is who holds the token; the request gets a client_msg_id of its own."""
    first, second = (asked(conversation_id="g:team", **frame) for _ in range(2))
    assert (first.kind, msgspec.json.decode(first.content)) == (kind, event)
    assert first.client_msg_id != second.client_msg_id


def test_a_new_group_lists_its_first_members_without_the_creator() -> None:
    """The creator is a member without being listed; an id is made if none is given."""
    inbound = asked(type="group.create", name="Team", members=["bob", "alice", "bob"], group_id="team")
    assert inbound.conversation_id == "g:team"
    assert msgspec.json.decode(inbound.content) == {
        "action": "created",
        "by": "alice",
        "name": "Team",
        "members": ["bob"],
    }
    unnamed = [asked(type="group.create", name="T", members=[]).conversation_id for _ in range(2)]
    assert unnamed[0] != unnamed[1]


def test_a_block_is_an_event_of_the_direct_conversation() -> None:
    """It names the other user."""
    inbound = asked(type="conversation.block", conversation_id="d:alice:bob", blocked=False)
    assert msgspec.json.decode(inbound.content) == {"action": "unblocked", "by": "alice", "users": ["bob"]}
    assert refusal(type="conversation.block", conversation_id="g:team") is Code.BAD_FRAME


def test_a_mute_of_all_names_nobody() -> None:
    """But says so: `users` is always there."""
    inbound = asked(type="group.mute", conversation_id="g:team", until_ms=5)
    content = {"action": "muted", "by": "alice", "users": [], "until_ms": 5}
    assert msgspec.json.decode(inbound.content) == content


def test_what_has_no_json_form_is_a_bad_frame() -> None:
    """msgpack can carry what JSON cannot."""
    strange = msgspec.msgpack.encode(
        {
            "type": "send",
            "client_msg_id": "m",
            "conversation_id": "d:alice:bob",
            "kind": "custom",
            "content": {"x": msgspec.msgpack.Ext(5, b"?")},
        }
    )
    with pytest.raises(Refused) as refused:
        inbound_of(MSGPACK.parse_client(strange), ALICE, 1)  # type: ignore[arg-type]
    assert refused.value.code is Code.BAD_FRAME


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_values, max_size=6))
def test_any_custom_content_survives_the_way_into_the_log(content: dict[str, Any]) -> None:
    """What is decoded from the record is what was sent."""
    inbound = said("custom", content)
    assert msgspec.json.decode(INBOUND.decode(INBOUND.encode(inbound)).content) == content


@given(st.binary(max_size=200) | json_values.map(msgspec.json.encode))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    """Whatever a client sends, parsing and planning end in a record or in `Refused`."""
    for codec in (JSON, MSGPACK):
        try:
            frame: ClientFrame = codec.parse_client(data)
        except Refused:
            continue
        assert is_request(frame) in (True, False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "recall", "client_msg_id": "m1\n", "conversation_id": "d:alice:bob", "seq": 1},
        {"type": "group.create", "name": "T", "members": ["bob\n"]},
        {"type": "group.create", "name": "T", "members": [], "group_id": "t\n"},
        {"type": "group.add", "conversation_id": "g:t", "members": ["bob\n"]},
        {"type": "group.remove", "conversation_id": "g:t", "members": ["bob\n"]},
        {"type": "group.role", "conversation_id": "g:t", "user_id": "bob\n", "role": "admin"},
        {"type": "group.mute", "conversation_id": "g:t", "user_id": "bob\n", "until_ms": 1},
        {"type": "group.leave", "conversation_id": "g:t\n"},
    ],
)
def test_no_name_ends_with_a_newline(frame: dict[str, Any]) -> None:
    """What the pipeline would bury is refused before it is accepted."""
    assert refusal(**frame) is Code.BAD_FRAME


def test_no_mention_ends_with_a_newline() -> None:
    """Nor does a name in it."""
    with pytest.raises(Refused):
        said(mentions=["bob\n"])


def test_a_group_request_about_ones_direct_conversation_is_a_bad_frame() -> None:
    """About one of two others it says that there is none."""
    assert refusal(type="group.leave", conversation_id="d:alice:bob") is Code.BAD_FRAME
    assert refusal(type="group.leave", conversation_id="d:bob:carol") is Code.NO_SUCH_CONVERSATION
