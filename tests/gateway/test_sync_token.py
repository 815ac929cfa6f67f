"""Sync tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sync_token import Place, SyncToken, parse_token, places

times = st.integers(0, 10**15 - 1)


@given(times)
def test_a_token_comes_back_as_it_was(since_ms: int) -> None:
    """Outside of paging."""
    assert parse_token(str(SyncToken(since_ms))) == SyncToken(since_ms)


conversations = st.from_regex(r"(d:[a-c._-]{1,9}:[a-c]{1,9}|[gc]:[A-Z0-9._-]{1,64})", fullmatch=True)
spots = st.builds(Place, conversations, st.none() | times, st.none() | st.integers(0, 2**53))


@given(st.none() | times, times, spots, st.booleans())
def test_a_paging_token_comes_back_as_it_was(
    since_ms: int | None, target_ms: int, place: Place, reset: bool
) -> None:
    """Also of a sync that began with nothing; it stays short."""
    token = SyncToken(since_ms, target_ms, place, reset and since_ms is None)
    assert parse_token(str(token)) == token
    assert len(str(token)) <= 200


@given(st.text() | st.from_regex(r"1p?[0-9mr.-]{0,40}([gc]:x)?"))
def test_any_other_text_is_no_token(text: str) -> None:
    """Whatever a client sends, it is read or it is none of ours."""
    token = parse_token(text)
    assert token is None or parse_token(str(token)) == token


NAMES = [f"g:{letter}" for letter in "abcdefg"]
changes = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 99), min_size=1)


@given(changes, st.none() | st.integers(0, 50), st.integers(50, 99), st.data())
def test_nobody_is_passed_over_whatever_moves_between_pages(
    changed: dict[str, int], since_ms: int | None, target_ms: int, data: st.DataObject
) -> None:
    """A conversation at a time, each at another gateway, while messages come: everything that was there when
    the sync began is sent, and the sync ends."""
    begun = {c: at_ms for c, at_ms in changed.items() if at_ms >= (since_ms or 0)}
    token, sent, clock = SyncToken(since_ms, target_ms), list[str](), 100
    for _ in range(100):
        left = places(changed, token)
        if not left:
            break
        sent.append(left[0].conversation_id)
        if len(left) == 1:
            break
        token = SyncToken(since_ms, target_ms, left[1])
        for name in data.draw(st.lists(st.sampled_from(NAMES), max_size=2)):
            clock += 1
            changed[name] = clock
    else:
        pytest.fail("it never ends")
    assert set(begun) <= set(sent)


def test_a_half_sent_conversation_goes_on_where_it_stopped() -> None:
    """Unless it has moved: then it comes anew."""
    place = Place("g:b", 20, after_seq=7)
    token = SyncToken(None, 50, place)
    assert places({"g:a": 30, "g:b": 20, "g:c": 10}, token) == [place, Place("g:c", 10)]
    assert places({"g:a": 30, "g:b": 60, "g:c": 10}, token) == [Place("g:c", 10), Place("g:b", None)]
    later = SyncToken(5, 50, Place("g:b", 20, after_seq=7))
    assert places({"g:a": 70, "g:b": 60, "g:c": 10}, later)[0] == Place("g:b", 60, 7)
