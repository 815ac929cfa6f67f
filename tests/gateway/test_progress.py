"""A session's token never covers what its client might lack."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.progress import MAX_HEADS, Progress
from gateway.sync_token import parse_token


def time_of(token: str) -> int:
    parsed = parse_token(token)
    assert parsed is not None
    assert parsed.since_ms is not None
    return parsed.since_ms


def test_without_a_sync_there_is_no_token() -> None:
    """And with an unfinished one it stays where the client came with it."""
    progress = Progress()
    assert progress.announce(500, 0, None) == ""
    progress.came_with(100)
    assert time_of(progress.token) == 100


def test_the_token_runs_one_pong_behind_the_heads() -> None:
    """A message that was fanned out before the session's route is announced before the token passes it."""
    progress = Progress()
    progress.synced(100)
    assert time_of(progress.announce(200, 1, None)) == 100
    assert time_of(progress.announce(300, 0, None)) == 200


def test_the_token_waits_for_unacknowledged_deliveries() -> None:
    """It never passes the oldest of them, and never goes back."""
    progress = Progress()
    progress.synced(100)
    progress.announce(200, 0, None)
    assert time_of(progress.announce(300, 0, 150)) == 150
    assert time_of(progress.announce(300, 0, 120)) == 150
    assert time_of(progress.announce(300, 0, None)) == 300


def test_heads_that_were_cut_off_do_not_count_as_announced() -> None:
    """With 100 heads there may be more: the next pong says them again, and the token waits."""
    progress = Progress()
    progress.synced(100)
    progress.announce(200, MAX_HEADS, None)
    assert progress.announced_ms == 100
    assert time_of(progress.announce(300, 3, None)) == 100


@given(st.lists(st.tuples(st.integers(1, 1_000), st.integers(0, 100), st.none() | st.integers(1, 1_000))))
def test_the_token_never_falls(pongs: list[tuple[int, int, int | None]]) -> None:
    """Whatever the stages and the client do."""
    progress = Progress()
    progress.synced(10)
    last = 10
    for consumed_ms, heads, oldest_ms in pongs:
        now = time_of(progress.announce(consumed_ms, heads, oldest_ms))
        assert now >= last
        last = now
