"""Pages of a conversation."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.history import HistoryService
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
    return HistoryService(store, page_bytes)


async def seqs(
    service: HistoryService, user: str, conversation_id: str, **ask: Any
) -> tuple[list[int], bool]:
    page = await service.page(user, History(conversation_id=conversation_id, **ask), True)
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
