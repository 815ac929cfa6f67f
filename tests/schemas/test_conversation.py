"""The fold: who is inside, who was, and what it takes to tell."""

from __future__ import annotations

import pytest

from schemas.conversation import ConversationState, MemberEvent, fold
from schemas.errors import BadInput, Undecodable

CREATED = (1, "group", '{"action":"created","by":"ann","name":"Tea","members":["bob","cy"]}')


def test_creation_lets_the_creator_and_the_listed_in() -> None:
    """The creator is owner without being listed; the listed are members from the same seq on."""
    state = fold("g:1", [CREATED])  # type: ignore[list-item]
    assert state.inside() == ["ann", "bob", "cy"]
    assert (state.members["ann"].role, state.members["bob"].role, state.name) == ("owner", "member", "Tea")
    assert state.peak_count == 3


def test_who_left_saw_the_leave_and_nothing_after_it() -> None:
    """Positions up to and including the leave are visible, later ones are not, a second stay counts anew."""
    state = fold(
        "g:1",
        [
            CREATED,  # type: ignore[list-item]
            (5, "member", '{"action":"left","by":"bob","users":["bob"]}'),
            (9, "member", '{"action":"joined","by":"ann","users":["bob"]}'),
        ],
    )
    bob = state.members["bob"]
    assert [position for position in range(1, 12) if bob.saw(position)] == [1, 2, 3, 4, 5, 9, 10, 11]
    assert state.is_member("bob")
    assert not state.was_member("stranger")


def test_a_repeated_event_changes_nothing() -> None:
    """An event at or before the state's position was taken already."""
    state = fold("g:1", [CREATED])  # type: ignore[list-item]
    state.apply(MemberEvent(action="left", by="bob", users=["bob"]), 1)
    assert state.is_member("bob")


def test_a_direct_conversation_needs_no_creation() -> None:
    """Its two users are inside from the start, and a block is an event of its own stream."""
    state = ConversationState.new("d:ann:bob")
    assert state.exists
    assert state.inside() == ["ann", "bob"]
    state.apply(MemberEvent(action="blocked", by="bob", users=["ann"]), 4)
    assert state.blocked_by == {"bob"}
    state.apply(MemberEvent(action="unblocked", by="bob", users=["ann"]), 6)
    assert state.blocked_by == set()


def test_the_peak_never_falls() -> None:
    """A conversation that was large once stays large."""
    state = fold("g:1", [CREATED, (2, "member", '{"action":"removed","by":"ann","users":["bob","cy"]}')])  # type: ignore[list-item]
    assert (state.inside_count, state.peak_count) == (1, 3)


@pytest.mark.parametrize(
    "bad", ["d:bob:alice", "d:a:a", "x:1", "g:", "g:a b", "d:a", "g:" + "x" * 65, "d:a:b:c"]
)
def test_an_id_out_of_shape_is_refused(bad: str) -> None:
    """Unsorted, unknown or unprintable ids name nothing."""
    with pytest.raises(BadInput):
        ConversationState.new(bad)


def test_an_event_out_of_shape_is_undecodable() -> None:
    """A member event without its fields is a dead letter, not a crash."""
    with pytest.raises(Undecodable):
        fold("g:1", [(1, "member", '{"action":"flew"}')])
