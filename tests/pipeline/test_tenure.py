"""pipeline/tenure.py"""

from __future__ import annotations

import pytest

from infra.clock import ManualClock
from pipeline.tenure import Tenure
from schemas.errors import Fenced


def test_nothing_is_owned_before_the_group_has_answered() -> None:
    """Not even at once."""
    with pytest.raises(Fenced):
        Tenure(ManualClock(), 6.0).term.check()


def test_an_answer_proves_the_session_from_the_asking_on() -> None:
    """However late it came."""
    clock = ManualClock()
    tenure = Tenure(clock, 6.0)
    asked_at = clock.monotonic()
    clock.advance(5.0)
    tenure.prove(asked_at)
    tenure.term.check()
    clock.advance(1.5)
    with pytest.raises(Fenced):
        tenure.term.check()


def test_what_waited_in_a_stopped_process_proves_nothing() -> None:
    """The answer to a question from before the stop, read after it, and one that overtook it."""
    clock = ManualClock()
    tenure = Tenure(clock, 6.0)
    asked_at = clock.monotonic()
    clock.advance(10.0)
    tenure.prove(asked_at)
    with pytest.raises(Fenced):
        tenure.term.check()
    tenure.prove(clock.monotonic())
    tenure.prove(asked_at)
    tenure.term.check()


@pytest.mark.parametrize(
    ("generations", "lasts"),
    [
        pytest.param([4, 4, 5, 6], True, id="a member each time"),
        pytest.param([4, 6], False, id="out of one"),
        pytest.param([4, 6, 7], False, id="out of one, long ago"),
        pytest.param([4, 1], False, id="the coordinator counts anew"),
    ],
)
def test_a_term_lasts_while_no_other_can_have_had_a_share(generations: list[int], *, lasts: bool) -> None:
    """However well the tenure is proven afterwards."""
    tenure = Tenure(ManualClock(), 6.0)
    tenure.join(generations[0])
    term = tenure.term
    for generation in generations[1:]:
        tenure.join(generation)
    tenure.prove(tenure.clock.monotonic())
    assert term.lasts is lasts
    assert tenure.term.lasts
