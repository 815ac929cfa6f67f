"""Pages of a conversation."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.history import HistoryService, Period
from gateway.moments import seq_at
from infra.memory.history import MemoryHistory
from schemas.codes import Code
from schemas.errors import Refused
from schemas.frames import History
from schemas.tables import BucketRow, EventRow, MessageRow, Row


def a_message(conversation_id: str, seq: int, text: str = "hi") -> MessageRow:
    content = f'{{"text":"{text}"}}'
    return MessageRow(
        conversation_id, seq, f"id{seq}", "alice", f"m{seq}", "text", content, 1_000 + seq, 0, []
    )


def an_event(conversation_id: str, seq: int, content: str, kind: Any = "member") -> list[Row]:
    return [
        EventRow(conversation_id, seq, seq, kind, content, 1_000 + seq),
        MessageRow(conversation_id, seq, f"id{seq}", "alice", f"m{seq}", kind, content, 1_000 + seq, 0, []),
    ]


ALL_STORED_MS: Final = 1 << 50


async def a_history(page_bytes: int = 1 << 20) -> HistoryService:
    """A direct conversation of 30, and a group where bob was in from 5 to 10, and since 20 again."""
    store = MemoryHistory()
    await store.write([BucketRow(c, 0, 1, 1_001) for c in ("d:alice:bob", "g:t")])
    await store.write([a_message("d:alice:bob", seq) for seq in range(1, 31)])
    rows: list[Row] = an_event("g:t", 1, '{"action":"created","by":"alice","name":"T"}', "group")
    rows += [a_message("g:t", seq) for seq in range(2, 31) if seq not in (5, 10, 20)]
    for seq, action in ((5, "joined"), (10, "removed"), (20, "joined")):
        rows += an_event("g:t", seq, f'{{"action":"{action}","by":"alice","users":["bob"]}}')
    await store.write(rows)
    return HistoryService(store, lambda: ALL_STORED_MS, page_bytes)


async def seqs(
    service: HistoryService, user: str, conversation_id: str, **ask: Any
) -> tuple[list[int], bool]:
    period = Period(ask.pop("from_ms", None), ask.pop("to_ms", None))
    page = await service.page(user, History(conversation_id=conversation_id, **ask), True, period)
    return [m.seq for m in page.messages], page.more


async def test_the_newest_come_first_without_a_bound() -> None:
    """And `more` says whether there are older ones."""
    service = await a_history()
    assert await seqs(service, "alice", "d:alice:bob", limit=3) == ([30, 29, 28], True)
    assert await seqs(service, "alice", "d:alice:bob", before_seq=3) == ([2, 1], False)
    assert await seqs(service, "alice", "d:alice:bob", before_seq=1) == ([], False)


async def test_forwards_the_oldest_come_first() -> None:
    """Strictly after `after_seq`."""
    service = await a_history()
    assert await seqs(service, "alice", "d:alice:bob", after_seq=0, limit=2) == ([1, 2], True)
    assert await seqs(service, "alice", "d:alice:bob", after_seq=28, limit=2) == ([29, 30], False)
    assert await seqs(service, "alice", "d:alice:bob", after_seq=30) == ([], False)


async def test_a_reader_sees_his_stays_and_nothing_between() -> None:
    """Backwards and forwards, joins and leaves included."""
    service = await a_history()
    inside = [*range(30, 19, -1), *range(10, 4, -1)]
    assert (await seqs(service, "bob", "g:t", limit=200)) == (inside, False)
    assert (await seqs(service, "bob", "g:t", after_seq=0, limit=200)) == (inside[::-1], False)
    walked: list[int] = []
    before, more = 31, True
    while more:
        page, more = await seqs(service, "bob", "g:t", before_seq=before, limit=4)
        walked += page
        before = page[-1] if page else before
    assert walked == inside


@pytest.mark.parametrize("limit", range(1, 13))
async def test_a_reader_who_pages_forwards_misses_nothing(limit: int) -> None:
    """Also where a page ends just before his return."""
    service = await a_history()
    for start in range(31):
        walked: list[int] = []
        after, more = start, True
        while more:
            page, more = await seqs(service, "bob", "g:t", after_seq=after, limit=limit)
            walked += page
            after = max([after, *page])
            assert page or not more
        assert walked == [seq for seq in (*range(5, 11), *range(20, 31)) if seq > start]


async def test_a_stranger_and_a_third_get_no_such_conversation() -> None:
    """A group that exists answers like one that does not, and so does a direct conversation of others."""
    service = await a_history()
    for user, conversation_id in (("eve", "g:t"), ("eve", "g:nothing"), ("eve", "d:alice:bob")):
        with pytest.raises(Refused) as refused:
            await seqs(service, user, conversation_id)
        assert refused.value.code is Code.NO_SUCH_CONVERSATION


async def test_a_page_is_bounded_in_bytes() -> None:
    """It ends early, says that there is more, and always holds one message."""
    service = await a_history(page_bytes=700)
    assert await seqs(service, "alice", "d:alice:bob", limit=10) == ([30, 29], True)
    tiny = await a_history(page_bytes=1)
    assert await seqs(tiny, "alice", "d:alice:bob", limit=10) == ([30], True)


async def test_what_stands_behind_a_message_that_is_not_stored_yet_waits_for_it() -> None:
    """In the newest page and forwards; a page before something that is known shows what there is."""
    store = MemoryHistory()
    await store.write([BucketRow("d:alice:bob", 0, 1, 1_001)])
    await store.write([a_message("d:alice:bob", seq) for seq in (2, 3, 5, 6)])
    settled_ms = 0
    service = HistoryService(store, lambda: settled_ms, 1 << 20)
    assert await seqs(service, "alice", "d:alice:bob") == ([], False)
    assert await seqs(service, "alice", "d:alice:bob", after_seq=1) == ([2, 3], False)
    assert await seqs(service, "alice", "d:alice:bob", after_seq=3) == ([], False)
    assert await seqs(service, "alice", "d:alice:bob", before_seq=6) == ([5, 3, 2], True)
    settled_ms = 1_003  # nothing from before the third can come any more
    assert await seqs(service, "alice", "d:alice:bob") == ([3, 2], True)
    settled_ms = 1_007
    assert await seqs(service, "alice", "d:alice:bob") == ([6, 5, 3, 2], True)


# Times (a message with seq n was sent at 1,000 + n)


@given(st.lists(st.integers(0, 50), max_size=12).map(sorted), st.integers(0, 60))
async def test_a_time_leads_to_its_place(times: list[int], time_ms: int) -> None:
    """The first message that is not older, whatever the gaps and the repeats in time."""
    store = MemoryHistory()
    await store.write([BucketRow("g:t", 0, 1, 0)])
    await store.write(
        [
            MessageRow("g:t", seq, "id", "a", "m", "text", "{}", at_ms, 0, [])
            for seq, at_ms in enumerate(times, start=1)
        ]
    )
    wanted = next((seq for seq, at_ms in enumerate(times, start=1) if at_ms >= time_ms), len(times) + 1)
    assert await seq_at(store, "g:t", time_ms) == wanted


@pytest.mark.parametrize(
    ("ask", "found"),
    [
        ({"from_ms": 1_005, "limit": 3}, ([5, 6, 7], True)),
        ({"from_ms": 1_005, "to_ms": 1_008, "limit": 3}, ([5, 6, 7], False)),
        ({"from_ms": 1_005, "to_ms": 1_008, "limit": 2}, ([5, 6], True)),
        ({"from_ms": 1_005, "to_ms": 1_008, "after_seq": 6}, ([7], False)),
        ({"to_ms": 1_004, "limit": 2}, ([3, 2], True)),
        ({"to_ms": 1_004, "before_seq": 2}, ([1], False)),
        ({"from_ms": 1_005, "to_ms": 1_008, "before_seq": 20, "limit": 3}, ([7, 6, 5], False)),
        ({"from_ms": 0, "limit": 2}, ([1, 2], True)),
        ({"from_ms": 1_031}, ([], False)),
        ({"to_ms": 1_001}, ([], False)),
        ({"from_ms": 1_010, "to_ms": 1_005}, ([], False)),
    ],
)
async def test_a_period_bounds_the_pages(ask: dict[str, Any], found: tuple[list[int], bool]) -> None:
    """With a beginning the oldest come first, else the newest; `more` speaks of the period."""
    assert await seqs(await a_history(), "alice", "d:alice:bob", **ask) == found


async def test_a_period_shows_nothing_that_may_not_be_read() -> None:
    """bob reads his stays only, and a stranger is told of no conversation, whatever the time."""
    service = await a_history()
    assert await seqs(service, "bob", "g:t", from_ms=1_008, to_ms=1_022) == ([8, 9, 10, 20, 21], False)
    with pytest.raises(Refused) as refused:
        await seqs(service, "eve", "g:t", from_ms=1_008)
    assert refused.value.code is Code.NO_SUCH_CONVERSATION
