"""gateway/client/cursors.py"""

from __future__ import annotations

from gateway.client.cursors import Cursors
from schemas.frames import Receipt


def a_receipt(user_id: str = "bob", delivered: int | None = None, read: int | None = None) -> Receipt:
    return Receipt(conversation_id="g:team", user_id=user_id, delivered_seq=delivered, read_seq=read)


def test_a_cursor_only_rises() -> None:
    """What comes late or twice is no news, and neither cursor pulls the other one back."""
    cursors = Cursors()
    assert cursors.raises(a_receipt(delivered=5))
    assert not cursors.raises(a_receipt(delivered=5))
    assert not cursors.raises(a_receipt(delivered=3))
    assert cursors.raises(a_receipt(delivered=4, read=2))
    assert cursors.of("g:team", "bob") == (5, 2)


def test_what_did_not_move_for_longest_is_forgotten() -> None:
    """So that a client in many conversations stays small."""
    cursors = Cursors(limit=2)
    for user_id in ("bob", "carol", "bob", "dave"):
        cursors.raises(a_receipt(user_id, delivered=1 + len(user_id)))
    assert cursors.of("g:team", "bob") == (0, 0)
    assert cursors.of("g:team", "dave") == (5, 0)
