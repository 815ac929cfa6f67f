"""pipeline/tenure.py"""

from __future__ import annotations

import pytest

from infra.clock import ManualClock
from pipeline.tenure import Tenure
from schemas.errors import Fenced


def test_nothing_is_owned_before_the_group_has_answered() -> None:
    """Not even at once."""
    with pytest.raises(Fenced):
        Tenure(ManualClock(), 6.0).check()


def test_an_answer_proves_the_session_from_the_asking_on() -> None:
    """However late it came."""
    clock = ManualClock()
    tenure = Tenure(clock, 6.0)
    asked_at = clock.monotonic()
    clock.advance(5.0)
    tenure.prove(asked_at)
    tenure.check()
    clock.advance(1.5)
    with pytest.raises(Fenced):
        tenure.check()


def test_what_waited_in_a_stopped_process_proves_nothing() -> None:
    """The answer to a question from before the stop, read after it, and one that overtook it."""
    clock = ManualClock()
    tenure = Tenure(clock, 6.0)
    asked_at = clock.monotonic()
    clock.advance(10.0)
    tenure.prove(asked_at)
    with pytest.raises(Fenced):
        tenure.check()
    tenure.prove(clock.monotonic())
    tenure.prove(asked_at)
    tenure.check()
