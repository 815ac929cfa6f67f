"""pipeline/receipts/audience.py"""

from __future__ import annotations

from infra.memory.history import MemoryHistory
from pipeline.receipts.audience import Audience
from schemas.records import Kind, Receipt
from schemas.tables import EventRow


def a_receipt(user: str, conversation_id: str = "g:tea", seq: int = 1) -> Receipt:
    return Receipt(conversation_id, user, seq, -1, "s1", 0)


async def store(history: MemoryHistory, seq: int, content: str) -> None:
    kind: Kind = "group" if "created" in content else "member"
    await history.write([EventRow("g:tea", seq, seq, kind, content, 0)])


async def a_group(*members: str) -> MemoryHistory:
    history = MemoryHistory()
    names = ",".join(f'"{member}"' for member in members)
    await store(history, 1, f'{{"action":"created","by":"ann","name":"Tea","members":[{names}]}}')
    return history


async def test_in_a_direct_conversation_the_other_hears() -> None:
    """Nobody else may move a cursor there, and the history is not asked."""
    audience = Audience(MemoryHistory(), 50)
    await audience.load([], 0.0)
    assert audience.listeners(a_receipt("bob", "d:alice:bob")) == ["alice"]
    assert audience.listeners(a_receipt("sam", "d:alice:bob")) is None


async def test_in_a_small_group_the_others_hear() -> None:
    """Strangers move nothing; in a large group nobody hears, but cursors move."""
    history = await a_group("bob", "cy")
    audience = Audience(history, 3)
    await audience.load([a_receipt("bob"), a_receipt("sam")], 0.0)
    assert audience.listeners(a_receipt("bob")) == ["ann", "cy"]
    assert audience.listeners(a_receipt("sam")) is None
    strict = Audience(history, 2)
    await strict.load([a_receipt("bob")], 0.0)
    assert list(strict.listeners(a_receipt("bob")) or ()) == []
    assert strict.listeners(a_receipt("bob")) is not None


async def test_a_new_member_is_looked_up_at_once_and_an_old_one_within_seconds() -> None:
    """Who is unknown is asked for again; who left hears nothing after 5 s."""
    history = await a_group("bob")
    audience = Audience(history, 50)
    await audience.load([a_receipt("bob")], 100.0)
    await store(history, 2, '{"action":"joined","by":"ann","users":["cy"]}')
    await audience.load([a_receipt("cy")], 101.0)
    assert audience.listeners(a_receipt("cy")) == ["ann", "bob"]
    await store(history, 3, '{"action":"left","by":"bob","users":["bob"]}')
    await audience.load([a_receipt("cy")], 107.0)
    assert audience.listeners(a_receipt("cy")) == ["ann"]
    assert audience.listeners(a_receipt("bob", seq=4)) is None


async def test_who_left_keeps_what_he_saw() -> None:
    """An acknowledgement may come after the leave that it is of; what came later is not his."""
    history = await a_group("bob", "cy")
    await store(history, 5, '{"action":"left","by":"bob","users":["bob"]}')
    audience = Audience(history, 50)
    await audience.load([a_receipt("bob")], 0.0)
    assert audience.listeners(a_receipt("bob", seq=5)) == ()
    assert audience.listeners(a_receipt("bob", seq=6)) is None
