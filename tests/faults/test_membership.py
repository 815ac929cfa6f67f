"""The checker's own account of who is inside agrees with the protocol, and with the fold that Skein uses."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas.conversation import fold
from tests.faults.checker.membership import Members, StateEvent

_USERS = ("ann", "bob", "cat")
_users = st.lists(st.sampled_from(_USERS), min_size=1, max_size=2, unique=True)
_events = st.lists(
    st.builds(
        lambda action, by, users: {"action": action, "by": by, "users": users},
        st.sampled_from(["joined", "removed", "left", "role", "muted"]),
        st.sampled_from(_USERS),
        _users,
    ),
    max_size=12,
)


def members_after(conversation: str, events: list[dict[str, Any]]) -> Members:
    members = Members(conversation)
    for seq, event in enumerate(events, 1):
        members.apply(seq, msgspec.convert(event, StateEvent))
    return members


@given(_events)
def test_two_accounts_of_one_group_agree(events: list[dict[str, Any]]) -> None:
    """Written apart from each other, the checker's and the pipeline's view see the same at every seq."""
    created = {"action": "created", "by": "ann", "name": "tea", "members": ["bob"]}
    group = {**created, "users": []}
    members = members_after("g:tea", [group, *events])
    texts = [(1, "group", msgspec.json.encode(created).decode())]
    texts += [(seq, "member", msgspec.json.encode(event).decode()) for seq, event in enumerate(events, 2)]
    state = fold("g:tea", texts)  # type: ignore[arg-type]
    for user in _USERS:
        for seq in range(len(events) + 3):
            other = user in state.members and state.members[user].saw(seq)
            assert members.sees(user, seq) == other, (user, seq)


def test_a_dissolved_group_ends_every_stay() -> None:
    """Everybody sees the end of the group, and nothing after it."""
    group = {"action": "created", "by": "ann", "members": ["bob"]}
    members = members_after("g:tea", [group, {"action": "dissolved", "by": "ann"}])
    assert [members.sees("bob", seq) for seq in range(4)] == [False, True, True, False]
    assert list(members.seen_by("bob", head=9)) == [(1, 2)]


def test_a_block_keeps_the_other_from_writing() -> None:
    """From the seq after the block until it is lifted, and in one direction only."""
    events = [{"action": "blocked", "by": "ann"}, {"action": "unblocked", "by": "ann"}]
    members = members_after("d:ann:bob", [{"action": "role", "by": "ann"}, *events])
    assert [members.blocked("bob", seq) for seq in (2, 3, 4)] == [None, (2, "ann"), None]
    assert members.blocked("ann", 3) is None
