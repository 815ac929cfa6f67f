"""What `ports.HistoryStore` promises, as checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import permutations
from typing import Any, Final

from infra.ports import Head, HistoryStore
from schemas.ids import new_name
from schemas.records import Receipt
from schemas.tables import (
    BUCKET_SIZE,
    BucketRow,
    ChangeRow,
    Cursor,
    EventRow,
    HistoryRow,
    Membership,
    MembershipRow,
    MessageRow,
    Row,
    StoredEvent,
    bucket_of,
)

__all__ = ["CHECKS", "Check"]

Check = Callable[[HistoryStore], Awaitable[None]]


def a_conversation() -> str:
    return f"g:{new_name()}"


def a_row(conversation_id: str, seq: int, **fields: Any) -> MessageRow:
    values: dict[str, Any] = {
        "message_id": f"id-{seq}",
        "sender": "alice",
        "client_msg_id": f"m{seq}",
        "kind": "text",
        "content": f'{{"text":"{seq}"}}',
        "sent_at_ms": 1_700_000_000_000 + seq,
        "quote_seq": 0,
        "mentions": [],
    }
    return MessageRow(conversation_id, seq, **(values | fields))


def messages(conversation_id: str, seqs: Sequence[int]) -> list[Row]:
    """Messages with the buckets they are in."""
    buckets = {bucket_of(seq) for seq in seqs}
    noted = [BucketRow(conversation_id, n, n * BUCKET_SIZE + 1, 1_700_000_000_000) for n in sorted(buckets)]
    return [*noted, *(a_row(conversation_id, seq) for seq in seqs)]


def seqs_of(page: Sequence[HistoryRow]) -> list[int]:
    return [row.seq for row in page]


async def check_a_message_is_read_as_it_was_written(store: HistoryStore) -> None:
    conversation_id = a_conversation()
    row = a_row(conversation_id, 2, kind="image", quote_seq=1, mentions=["bob", "carol"])
    await store.write([*messages(conversation_id, [1]), row])
    newest, oldest = await store.page(conversation_id, limit=10)
    assert newest == HistoryRow(
        conversation_id, 2, "id-2", "alice", "m2", "image", row.content, row.sent_at_ms, 1, ["bob", "carol"]
    )
    assert oldest.mentions == []
    assert not oldest.recalled


async def check_pages_go_down_and_up(store: HistoryStore) -> None:
    conversation_id = a_conversation()
    await store.write(messages(conversation_id, range(1, 11)))
    assert seqs_of(await store.page(conversation_id, limit=3)) == [10, 9, 8]
    assert seqs_of(await store.page(conversation_id, before_seq=8, limit=3)) == [7, 6, 5]
    assert seqs_of(await store.page(conversation_id, before_seq=2, limit=3)) == [1]
    assert seqs_of(await store.page(conversation_id, before_seq=1, limit=3)) == []
    assert seqs_of(await store.page(conversation_id, after_seq=0, limit=3)) == [1, 2, 3]
    assert seqs_of(await store.page(conversation_id, after_seq=8, limit=3)) == [9, 10]
    assert seqs_of(await store.page(conversation_id, after_seq=10, limit=3)) == []
    assert await store.page(a_conversation(), limit=3) == []


async def check_pages_cross_the_borders_of_buckets(store: HistoryStore) -> None:
    conversation_id = a_conversation()
    border = BUCKET_SIZE
    await store.write(messages(conversation_id, [border - 1, border, border + 1, border + 2]))
    assert seqs_of(await store.page(conversation_id, limit=10)) == [
        border + 2,
        border + 1,
        border,
        border - 1,
    ]
    assert seqs_of(await store.page(conversation_id, before_seq=border + 2, limit=2)) == [border + 1, border]
    assert seqs_of(await store.page(conversation_id, after_seq=border - 1, limit=2)) == [border, border + 1]


async def check_the_head_is_the_newest_message(store: HistoryStore) -> None:
    conversation_id = a_conversation()
    assert await store.head(conversation_id) is None
    await store.write(messages(conversation_id, [1, 2, 3]))
    assert await store.head(conversation_id) == Head(3, 1_700_000_000_003)


async def check_changes_end_the_same_in_every_order_and_when_repeated(store: HistoryStore) -> None:
    for order in permutations(range(3)):
        conversation_id = a_conversation()
        rows: list[Row] = [
            a_row(conversation_id, 1),
            ChangeRow(conversation_id, 1, 5, 50, '{"text":"first"}'),
            ChangeRow(conversation_id, 1, 6, 60, '{"text":"second"}'),
        ]
        await store.write([BucketRow(conversation_id, 0, 1, 1)])
        for i in (*order, order[0]):
            await store.write([rows[i]])
        (row,) = await store.page(conversation_id, limit=10)
        assert (row.content, row.edited_at_ms, row.recalled) == ('{"text":"second"}', 60, False)


async def check_nothing_brings_a_recalled_message_back(store: HistoryStore) -> None:
    for order in permutations(range(3)):
        conversation_id = a_conversation()
        rows: list[Row] = [
            a_row(conversation_id, 1),
            ChangeRow(conversation_id, 1, 5, 50, None),
            ChangeRow(conversation_id, 1, 6, 60, '{"text":"late"}'),
        ]
        await store.write([BucketRow(conversation_id, 0, 1, 1)])
        for i in order:
            await store.write([rows[i]])
        (row,) = await store.page(conversation_id, limit=10)
        assert (row.content, row.recalled) == ("{}", True)


async def check_a_change_alone_is_no_message(store: HistoryStore) -> None:
    conversation_id = a_conversation()
    await store.write([BucketRow(conversation_id, 0, 1, 1), ChangeRow(conversation_id, 1, 5, 50, "{}")])
    assert await store.page(conversation_id, limit=10) == []


async def check_events_are_read_oldest_first(store: HistoryStore) -> None:
    conversation_id = a_conversation()
    content = '{"action":"left","by":"bob"}'
    assert await store.events(conversation_id) == []
    await store.write(
        [
            EventRow(conversation_id, 4, 104, "member", content, 1),
            EventRow(conversation_id, 1, 101, "group", content, 1),
        ]
    )
    assert await store.events(conversation_id) == [
        StoredEvent(1, 101, "group", content),
        StoredEvent(4, 104, "member", content),
    ]


async def check_memberships_tell_the_newest_stay(store: HistoryStore) -> None:
    for order in permutations((1, 5, 9)):
        user_id, conversation_id = new_name(), a_conversation()
        for seq in order:
            await store.write([MembershipRow(user_id, conversation_id, seq, inside=seq != 5)])
        assert await store.conversations(user_id) == [Membership(conversation_id, 9, 0)]
    user_id, conversation_id = new_name(), a_conversation()
    await store.write([MembershipRow(user_id, conversation_id, 7, inside=False)])
    assert await store.conversations(user_id) == []
    await store.write([MembershipRow(user_id, conversation_id, 2, inside=True)])
    assert await store.conversations(user_id) == [Membership(conversation_id, 2, 7)]


async def check_cursors_only_rise(store: HistoryStore) -> None:
    user_id, conversation_id = new_name(), a_conversation()
    assert await store.cursors(user_id) == {}
    await store.move_cursors([Receipt(conversation_id, user_id, 5, -1, "s", 1)])
    assert await store.cursors(user_id) == {conversation_id: Cursor(0, 5)}
    await store.move_cursors(
        [Receipt(conversation_id, user_id, 4, 3, "s", 2), Receipt(conversation_id, user_id, -1, 2, "s", 3)]
    )
    assert await store.cursors(user_id) == {conversation_id: Cursor(3, 5)}


async def check_cursors_of_some_conversations(store: HistoryStore) -> None:
    user_id, one, two, three = new_name(), a_conversation(), a_conversation(), a_conversation()
    await store.move_cursors([Receipt(name, user_id, 5, -1, "s", 1) for name in (one, two)])
    assert await store.cursors(user_id, [one, three]) == {one: Cursor(0, 5)}
    assert await store.cursors(user_id, []) == {}


async def check_the_latest_mute_counts(store: HistoryStore) -> None:
    user_id, conversation_id = new_name(), a_conversation()
    await store.mute(user_id, conversation_id, True, 20)
    await store.mute(user_id, conversation_id, False, 10)
    assert await store.cursors(user_id) == {conversation_id: Cursor(muted=True)}
    await store.mute(user_id, conversation_id, False, 30)
    assert await store.cursors(user_id) == {conversation_id: Cursor()}


async def check_nothing_to_write_is_no_error(store: HistoryStore) -> None:
    await store.write([])
    await store.move_cursors([])


async def check_stored_ids_name_the_whole_rows_of_a_range(store: HistoryStore) -> None:
    conversation_id = a_conversation()
    last = BUCKET_SIZE + 1
    await store.write(messages(conversation_id, [1, 2, 4, BUCKET_SIZE, last]))
    await store.write([ChangeRow(conversation_id, 3, 9, 1_700_000_000_009, None)])
    found = await store.stored_ids(conversation_id, 2, last)
    assert found == {seq: f"id-{seq}" for seq in (2, 4, BUCKET_SIZE, last)}
    assert await store.stored_ids(conversation_id, 1, 1) == {1: "id-1"}
    assert await store.stored_ids(a_conversation(), 1, 10) == {}


CHECKS: Final[Sequence[Check]] = [
    check for name, check in list(globals().items()) if name.startswith("check_")
]
