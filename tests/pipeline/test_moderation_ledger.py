"""pipeline/moderation/ledger.py"""

from __future__ import annotations

from pipeline.dedupe import LONGEST_GAP_MS, key_of
from pipeline.moderation.ledger import Ledger
from schemas.codes import Code
from schemas.records import Decision
from tests.builders import an_inbound

WINDOW_MS = 100_000
FIRST = an_inbound("hi")
OTHER = an_inbound("ho")


def a_rejection(source_offset: int, code: int = 1105) -> Decision:
    return Decision(
        source_offset=source_offset,
        conversation_id=FIRST.conversation_id,
        message_id="m",
        sender=FIRST.sender,
        client_msg_id=FIRST.client_msg_id,
        verdict="reject",
        code=code,
        rules=[],
        policy_version=1,
    )


def run_until(ledger: Ledger, time_ms: int) -> None:
    """Requests of others come all the time."""
    for passed_ms in range(0, time_ms + 1, LONGEST_GAP_MS):
        ledger.standing(an_inbound("tick", sender="cy"), passed_ms)
        ledger.refusal(an_inbound("tick", sender="cy"), passed_ms)


def test_an_id_is_a_repeat_inside_the_window() -> None:
    """With other content it is a conflict, from another sender or elsewhere it is new."""
    ledger = Ledger(0, WINDOW_MS)
    ledger.remember(FIRST, 0)
    run_until(ledger, 90_000)
    assert ledger.standing(FIRST, 90_000) == "repeat"
    assert ledger.standing(OTHER, 90_000) == "conflict"
    assert ledger.standing(an_inbound("hi", sender="bob"), 90_000) == "new"
    assert ledger.standing(an_inbound("hi", conversation_id="d:alice:cy"), 90_000) == "new"


def test_at_the_edge_of_the_window_it_does_not_guess() -> None:
    """A tenth of the window before and after its end, sequencing may see it either way."""
    ledger = Ledger(0, WINDOW_MS)
    ledger.remember(FIRST, 0)
    run_until(ledger, 90_000)
    assert ledger.standing(FIRST, 90_001) == "unsure"
    run_until(ledger, 110_000)
    assert ledger.standing(OTHER, 110_000) == "unsure"
    assert ledger.standing(FIRST, 110_001) == "new"


def test_accepted_offsets_are_done_and_rejected_ones_stay_rejected() -> None:
    """What lies between accepted ones and was never decided has had its turn."""
    ledger = Ledger(10, WINDOW_MS)
    ledger.recall_rejection(a_rejection(9), 0)
    ledger.recall_rejection(a_rejection(11), 0)
    for offset in (8, 10, 13):
        ledger.recall(offset, an_inbound(client_msg_id=f"m{offset}"), 0)
    assert [ledger.is_done(offset) for offset in (9, 10, 11, 12, 13, 14)] == [
        True, True, False, False, True, False,
    ]  # fmt: skip
    assert ledger.rejection(11) is Code.MUTED
    assert ledger.rejection(12) is None
    assert [ledger.is_passed(offset) for offset in (12, 14)] == [True, False]


def test_an_id_that_was_rejected_for_good_stays_so_for_the_window() -> None:
    """Whoever decided it; one that may be tried again may be accepted."""
    ledger = Ledger(10, WINDOW_MS)
    ledger.recall_rejection(a_rejection(3), 0)
    ledger.refuse(key_of(OTHER), Code.UNAVAILABLE, 0)
    run_until(ledger, WINDOW_MS)
    assert ledger.refusal(FIRST, WINDOW_MS) is Code.MUTED
    assert ledger.refusal(FIRST, WINDOW_MS + 1) is None
    assert ledger.refusal(OTHER, 1) is None


def test_a_rejection_of_an_unknown_code_still_stands() -> None:
    """A newer worker may have written it."""
    ledger = Ledger(0, WINDOW_MS)
    ledger.recall_rejection(a_rejection(3, code=1999), 0)
    assert ledger.rejection(3) is Code.UNAVAILABLE


def test_a_late_repeat_of_what_places_know_counts_for_nothing() -> None:
    """Sequencing passes it over, whatever its id: so it has used none."""
    ledger = Ledger(10, WINDOW_MS)
    ledger.recall_newest(7)
    assert not ledger.recall(3, FIRST, 0)
    assert ledger.standing(FIRST, 0) == "new"
    assert ledger.recall(8, FIRST, 0)


def test_a_recalled_record_counts_once() -> None:
    """Neither a source offset that does not rise nor an id inside the window makes a second event."""
    ledger = Ledger(0, WINDOW_MS)
    assert ledger.recall(1, FIRST, 0)
    assert not ledger.recall(1, FIRST, 1)
    run_until(ledger, WINDOW_MS)
    assert not ledger.recall(2, FIRST, WINDOW_MS)
    assert ledger.recall(3, FIRST, WINDOW_MS + 1)
    assert not ledger.recall(4, FIRST, WINDOW_MS + 2)


def test_what_was_handled_is_not_handled_again() -> None:
    """Reading may step back after a rebalance."""
    ledger = Ledger(5, WINDOW_MS)
    ledger.handled(7)
    assert [ledger.is_done(offset) for offset in (4, 5, 7, 8)] == [True, True, True, False]
