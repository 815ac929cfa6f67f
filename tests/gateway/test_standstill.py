"""gateway/standstill.py"""

from __future__ import annotations

import pytest

from gateway.standstill import Standstill
from schemas.errors import Refused


def test_who_comes_while_all_goes_well_is_taken() -> None:
    """Also when a look is late."""
    standstill = Standstill()
    for now in (100.0, 100.4, 101.2, 102.1):
        standstill.check(now)


@pytest.mark.parametrize("looked_first", [False, True])
def test_what_waited_through_a_standstill_is_turned_away(looked_first: bool) -> None:
    """Whether it is read before the next look or after it; and who asks again is taken."""
    standstill = Standstill()
    standstill.look(100.0)
    if looked_first:
        standstill.look(110.0)
    with pytest.raises(Refused) as refused:
        standstill.check(110.001)
    standstill.look(110.5)
    standstill.check(110.002 + (refused.value.retry_after_ms or 0) / 1000)
