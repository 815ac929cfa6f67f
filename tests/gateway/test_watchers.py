"""gateway/watchers.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.watchers import MAX_WATCHED, Watchers
from schemas.codes import Code
from schemas.errors import Refused
from tests.gateway.makers import a_session

USERS = st.lists(st.sampled_from("abcd"), max_size=4)
STEPS = st.lists(st.tuples(st.sampled_from(["add", "remove", "gone"]), st.integers(0, 2), USERS), max_size=30)


@given(STEPS)
def test_exactly_those_who_asked_are_found(steps: list[tuple[str, int, list[str]]]) -> None:
    """Both directions agree with a plain set of pairs, whatever comes and goes; nothing is left behind."""
    watchers, pairs = Watchers(), set[tuple[int, str]]()
    sessions = [a_session(session_id=f"s{i}") for i in range(3)]
    for verb, who, users in steps:
        if verb == "add":
            watchers.add(sessions[who], users)
            pairs |= {(who, user) for user in users}
        elif verb == "remove":
            watchers.remove(sessions[who], users)
            pairs -= {(who, user) for user in users}
        else:
            watchers.gone(sessions[who])
            pairs = {pair for pair in pairs if pair[0] != who}
        for user in "abcd":
            assert set(watchers.of(user)) == {sessions[w] for w, u in pairs if u == user}
            assert (user in watchers) == bool(set(watchers.of(user)))
        for who_else in range(3):
            assert set(watchers.watched_by(sessions[who_else])) == {u for w, u in pairs if w == who_else}
        assert set(watchers.users()) == {user for _, user in pairs}


def test_a_session_watches_a_bounded_number() -> None:
    """One more than that is refused as a whole; a user named twice counts once."""
    watchers, session = Watchers(), a_session()
    watchers.add(session, [f"u{i}" for i in range(MAX_WATCHED)])
    watchers.add(session, ["u0", "u1"])
    with pytest.raises(Refused) as refused:
        watchers.add(session, ["u0", "new", "newer"])
    assert refused.value.code is Code.NOT_ALLOWED
    assert "new" not in watchers
