"""pipeline/persistence/rows.py"""

from __future__ import annotations

import msgspec
import pytest

from pipeline.persistence.rows import place_rows, rows_of
from schemas.errors import Undecodable
from schemas.records import Kind, Message
from schemas.tables import BucketRow, ChangeRow, EventRow, MembershipRow, MessageRow
from tests.builders import a_message

DIRECT = "d:alice:bob"
GROUP = "g:team"


def said(
    seq: int, kind: Kind = "text", content: object = {"text": "hello"}, conversation_id: str = GROUP
) -> Message:
    return a_message(
        seq,
        source_offset=seq + 100,
        sent_at_ms=seq + 1_000,
        conversation_id=conversation_id,
        kind=kind,
        content=msgspec.json.encode(content).decode(),
        quote_seq=2,
        mentions=["bob"],
    )


def the_row(message: Message) -> MessageRow:
    return MessageRow(
        message.conversation_id,
        message.seq,
        message.message_id,
        "alice",
        message.client_msg_id,
        message.kind,
        message.content,
        message.sent_at_ms,
        2,
        ["bob"],
    )


def test_a_message_is_one_row() -> None:
    """Everything a reader needs is in it, and nothing of how it travelled."""
    message = said(5)
    assert rows_of(message) == [the_row(message)]


def test_a_repeat_makes_the_same_rows() -> None:
    """So storing it again changes nothing."""
    created = {"action": "created", "by": "alice", "members": ["bob"]}
    assert rows_of(said(1, "group", created)) == rows_of(said(1, "group", created))


def test_the_first_message_of_a_direct_conversation_lists_it_for_both() -> None:
    """From seq 0 on, so that the first message counts as unread."""
    assert rows_of(said(1, conversation_id=DIRECT))[:-1] == [
        BucketRow(DIRECT, 0, 1, 1_001),
        MembershipRow("alice", DIRECT, 0, inside=True),
        MembershipRow("bob", DIRECT, 0, inside=True),
    ]


@pytest.mark.parametrize(("seq", "bucket"), [(1, 0), (10_001, 1), (20_001, 2)])
def test_the_first_message_of_a_bucket_makes_the_bucket_known(seq: int, bucket: int) -> None:
    """Readers find the newest bucket by this row."""
    assert place_rows(said(seq)) == [BucketRow(GROUP, bucket, seq, seq + 1_000)]


@pytest.mark.parametrize("seq", [2, 10_000, 10_002])
def test_the_others_of_a_bucket_make_no_row_for_it(seq: int) -> None:
    """One row for ten thousand messages."""
    assert place_rows(said(seq)) == []


def test_a_later_bucket_of_a_direct_conversation_lists_nobody_again() -> None:
    """Both are in it already."""
    assert place_rows(said(10_001, conversation_id=DIRECT)) == [BucketRow(DIRECT, 1, 10_001, 11_001)]


def test_a_recall_changes_the_earlier_message_and_keeps_its_own_row() -> None:
    """The event has a seq like any message."""
    message = said(9, "recall", {"seq": 4})
    assert rows_of(message) == [ChangeRow(GROUP, 4, 9, 1_009, None), the_row(message)]


def test_an_edit_carries_the_new_content_as_it_was_written() -> None:
    """Byte for byte: nothing re-encodes what somebody said."""
    message = msgspec.structs.replace(said(9, "edit"), content='{"seq":4,"content":{"text": "né"}}')
    assert rows_of(message)[0] == ChangeRow(GROUP, 4, 9, 1_009, '{"text": "né"}')


@pytest.mark.parametrize("seq", [0, -1, 9, 10])
@pytest.mark.parametrize("kind", ["recall", "edit"])
def test_a_change_of_what_is_not_before_it_makes_no_row(kind: Kind, seq: int) -> None:
    """Or a message that comes later would be recalled before it was said."""
    with pytest.raises(Undecodable):
        rows_of(said(9, kind, {"seq": seq, "content": {}}))


def test_a_new_group_lists_itself_for_its_creator_and_its_members_once_each() -> None:
    """Also if the creator names himself."""
    created = {"action": "created", "by": "alice", "name": "Team", "members": ["bob", "alice"]}
    message = said(1, "group", created)
    assert rows_of(message) == [
        BucketRow(GROUP, 0, 1, 1_001),
        EventRow(GROUP, 1, 101, "group", message.content, 1_001),
        MembershipRow("alice", GROUP, 1, inside=True),
        MembershipRow("bob", GROUP, 1, inside=True),
        the_row(message),
    ]


@pytest.mark.parametrize(("action", "inside"), [("joined", True), ("left", False), ("removed", False)])
def test_who_comes_and_goes_is_noted_for_each(action: str, inside: bool) -> None:
    """At the seq of the event that says so."""
    rows = rows_of(said(9, "member", {"action": action, "by": "alice", "users": ["bob", "carol"]}))
    assert [row for row in rows if isinstance(row, MembershipRow)] == [
        MembershipRow("bob", GROUP, 9, inside=inside),
        MembershipRow("carol", GROUP, 9, inside=inside),
    ]


@pytest.mark.parametrize("action", ["role", "muted", "blocked", "unblocked"])
def test_other_events_change_nobodys_place(action: str) -> None:
    """They are kept for the fold alone."""
    message = said(9, "member", {"action": action, "by": "alice", "users": ["bob"]})
    assert rows_of(message) == [EventRow(GROUP, 9, 109, "member", message.content, 1_009), the_row(message)]


@pytest.mark.parametrize("kind", ["recall", "edit", "member", "group"])
def test_an_event_that_makes_no_sense_is_undecodable(kind: Kind) -> None:
    """It is for the dead letters, not for the history."""
    with pytest.raises(Undecodable):
        rows_of(said(9, kind, {"what": 1}))
