"""Sync tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.sync_token import SyncToken, parse_token

times = st.integers(0, 10**15 - 1)


@given(times)
def test_a_token_comes_back_as_it_was(since_ms: int) -> None:
    """Outside of paging."""
    assert parse_token(str(SyncToken(since_ms))) == SyncToken(since_ms)


@given(st.none() | times, st.integers(1, 10**9 - 1))
def test_a_paging_token_comes_back_as_it_was(since_ms: int | None, page: int) -> None:
    """Also of a sync that began with nothing."""
    assert parse_token(str(SyncToken(since_ms, page))) == SyncToken(since_ms, page)


@given(st.text())
def test_any_other_text_is_no_token(text: str) -> None:
    """Whatever a client sends, it is read or it is none of ours."""
    token = parse_token(text)
    assert token is None or str(token) == text or int(text[1:].strip("p").split("-")[0] or 0) >= 0
