"""pipeline/states.py"""

from __future__ import annotations

from infra.memory.history import MemoryHistory
from pipeline.states import ANY_POSITION, ConversationStates, by_seq, by_source_offset
from schemas.conversation import MemberEvent
from schemas.records import Kind
from schemas.tables import EventRow, StoredEvent

CREATED = '{"action":"created","by":"ann","name":"Tea","members":["bob"]}'
ADDS_CY = '{"action":"joined","by":"ann","users":["cy"]}'
DROPS_BOB = '{"action":"removed","by":"ann","users":["bob"]}'


class CountingHistory(MemoryHistory):
    """A history that knows how often it was asked for events."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def events(self, conversation_id: str) -> list[StoredEvent]:
        self.asked.append(conversation_id)
        return await super().events(conversation_id)

    async def store(
        self, seq: int, offset: int, kind: Kind, content: str, conversation_id: str = "g:tea"
    ) -> None:
        await self.write([EventRow(conversation_id, seq, offset, kind, content, 0)])


async def test_a_state_is_the_stored_events_with_the_recalled_ones_on_top() -> None:
    """What is in both counts once, also the very first record of the log."""
    history = CountingHistory()
    await history.store(1, 0, "group", CREATED)
    await history.store(5, 9, "member", DROPS_BOB)
    states = ConversationStates(history, by_source_offset)
    states.recall("g:tea", StoredEvent(0, 9, "member", DROPS_BOB))
    states.recall("g:tea", StoredEvent(0, 12, "member", ADDS_CY))
    await states.load({"g:tea": ANY_POSITION})
    assert states["g:tea"].inside() == ["ann", "cy"]


async def test_what_lies_ahead_is_left_for_when_it_comes_by() -> None:
    """A stage that is behind the history starts with the state its first record finds."""
    history = CountingHistory()
    await history.store(1, 0, "group", CREATED)
    await history.store(5, 9, "member", DROPS_BOB)
    states = ConversationStates(history, by_seq)
    await states.load({"g:tea": 5})
    assert states["g:tea"].inside() == ["ann", "bob"]


async def test_a_loaded_state_is_not_read_again() -> None:
    """The history is asked once, until a state is forgotten."""
    history = CountingHistory()
    states = ConversationStates(history, by_seq)
    await states.load({"d:ann:bob": 1})
    await states.load({"d:ann:bob": 2, "d:ann:cy": 1})
    assert history.asked == ["d:ann:bob", "d:ann:cy"]
    states.forget(["d:ann:bob"])
    assert "d:ann:bob" not in states
    await states.load({"d:ann:bob": 3})
    assert history.asked == ["d:ann:bob", "d:ann:cy", "d:ann:bob"]


async def test_the_longest_unused_states_make_room() -> None:
    """All states together weigh no more than the capacity, beside those of the batch at hand."""
    states = ConversationStates(CountingHistory(), by_seq, capacity=60)
    for number in range(40):
        await states.load({f"d:a{number}:b": 1})
    assert len(states) <= 10
    assert "d:a39:b" in states


async def test_an_event_that_is_not_stored_yet_is_never_forgotten() -> None:
    """A changed state stays until the history holds all it has taken; then it makes room like any other."""
    history = CountingHistory()
    await history.store(1, 0, "group", CREATED)
    states = ConversationStates(history, by_source_offset, capacity=60)
    await states.load({"g:tea": ANY_POSITION})
    states["g:tea"].apply(MemberEvent(action="removed", by="ann", users=["bob"]), 7)
    states.changed("g:tea")
    for number in range(40):
        await states.load({f"d:a{number}:b": ANY_POSITION})
    assert states["g:tea"].inside() == ["ann"]
    await history.store(2, 7, "member", DROPS_BOB)
    for number in range(40):
        await states.load({f"d:a{number}:c": ANY_POSITION})
    assert "g:tea" not in states
    await states.load({"g:tea": ANY_POSITION})
    assert states["g:tea"].inside() == ["ann"]


async def test_a_recalled_event_that_is_not_stored_yet_is_never_forgotten() -> None:
    """Also when it came from the tail of the log."""
    history = CountingHistory()
    states = ConversationStates(history, by_source_offset, capacity=60)
    states.recall("g:tea", StoredEvent(0, 3, "group", CREATED))
    await states.load({"g:tea": ANY_POSITION})
    for number in range(40):
        await states.load({f"d:a{number}:b": ANY_POSITION})
    assert states["g:tea"].inside() == ["ann", "bob"]


async def test_a_row_that_is_no_event_is_passed_over() -> None:
    """One bad row does not keep a partition from being served."""
    history = CountingHistory()
    await history.store(1, 0, "group", CREATED)
    await history.store(2, 1, "member", '{"action":"flew"}')
    states = ConversationStates(history, by_seq)
    await states.load({"g:tea": ANY_POSITION})
    assert states["g:tea"].inside() == ["ann", "bob"]
