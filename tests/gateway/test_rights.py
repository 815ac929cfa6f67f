"""Who may read what."""

from __future__ import annotations

import pytest

from gateway.rights import readable_after, readable_before, require_member, require_reader
from schemas.codes import Code
from schemas.conversation import ConversationState, GroupEvent, MemberEvent
from schemas.errors import Refused


def a_group() -> ConversationState:
    """bob was in from 3 to 7, and is in again since 20; carol left at 5."""
    state = ConversationState.new("g:t")
    state.apply(GroupEvent(action="created", by="alice", name="T", members=["carol"]), 1)
    state.apply(MemberEvent(action="joined", by="alice", users=["bob"]), 3)
    state.apply(MemberEvent(action="left", by="carol", users=["carol"]), 5)
    state.apply(MemberEvent(action="removed", by="alice", users=["bob"]), 7)
    state.apply(MemberEvent(action="joined", by="alice", users=["bob"]), 20)
    return state


def test_a_stranger_is_told_that_there_is_nothing() -> None:
    """And an ex-member that he is none now."""
    state = a_group()
    for check in (require_reader, require_member):
        with pytest.raises(Refused) as refused:
            check(state, "eve")
        assert refused.value.code is Code.NO_SUCH_CONVERSATION
    require_reader(state, "carol")
    with pytest.raises(Refused) as refused:
        require_member(state, "carol")
    assert refused.value.code is Code.NOT_A_MEMBER


def test_paging_steps_over_what_was_not_for_the_reader() -> None:
    """From the second stay to the first one, and back."""
    state = a_group()
    assert readable_before(state, "bob", 30) == 30
    assert readable_before(state, "bob", 20) == 8
    assert readable_before(state, "bob", 3) is None
    assert readable_before(state, "carol", 100) == 6
    assert readable_after(state, "bob", 0) == 2
    assert readable_after(state, "bob", 7) == 19
    assert readable_after(state, "bob", 25) == 25
    assert readable_after(state, "carol", 5) is None
