"""There is an answer for every member."""

from __future__ import annotations

import pytest

from infra.ports import Route
from pipeline.ops.accounts.arrival import ArrivalState, Said, Standing, arrival_of
from schemas.conversation import Member
from schemas.tables import Cursor

SAID = Said(seq=5, sender="alice", sent_at_ms=100_000)
GRACE_MS = 60_000


def standing(user_id: str = "bob", **fields: object) -> Standing:
    values = {"member": Member(spans=[(1, 0)]), "cursor": Cursor(), "routes": ()} | fields
    return Standing(user_id, **values)  # type: ignore[arg-type]


def connected(since_ms: int) -> Route:
    return Route("phone", "gw-2", "boot", "s", "web", since_ms)


@pytest.mark.parametrize(
    ("user", "now_ms", "state"),
    [
        (standing("alice"), 100_001, "sender"),
        (standing(cursor=Cursor(delivered_seq=5)), 100_001, "delivered"),
        (standing(cursor=Cursor(delivered_seq=5, read_seq=7)), 100_001, "read"),
        (standing(cursor=Cursor(delivered_seq=4)), 999_999, "waiting"),
        (standing(routes=[connected(99_000)]), 100_500, "unacked"),
        (standing(routes=[connected(99_000)]), 160_001, "overdue"),
        (standing(routes=[connected(100_500)]), 999_999, "waiting"),
        (standing(routes=[connected(100_500), connected(1)]), 999_999, "overdue"),
        (standing(member=Member(spans=[(6, 0)])), 100_001, "not_a_member"),
        (standing(member=Member(spans=[(1, 4)])), 100_001, "not_a_member"),
        (standing(member=Member()), 100_001, "not_a_member"),
        (standing(member=Member(spans=[(1, 5)]), cursor=Cursor(delivered_seq=5)), 100_001, "delivered"),
    ],
)
def test_each_standing_has_its_answer(user: Standing, now_ms: int, state: ArrivalState) -> None:
    """What is known of a member decides in one way why the message is there, or not."""
    assert arrival_of(SAID, user, now_ms, GRACE_MS).state == state


def test_an_outsider_is_told_apart_by_why() -> None:
    """Joined later, left before and never there are three answers."""
    spans = [[(6, 0)], [(1, 4)], []]
    texts = [arrival_of(SAID, standing(member=Member(spans=list(s))), 100_001, GRACE_MS).text for s in spans]
    assert texts == ["joined later, at seq 6", "left before, at seq 4", "never was a member"]


def test_a_muted_conversation_is_noted() -> None:
    """Muting explains a silent phone, so it stands beside the answer."""
    assert arrival_of(SAID, standing(cursor=Cursor(5, 5, True)), 100_001, GRACE_MS).muted
