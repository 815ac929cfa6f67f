"""infra/durations.py"""

from __future__ import annotations

import pytest

from infra.durations import parse_duration_ms
from schemas.errors import BadInput


@pytest.mark.parametrize(
    ("text", "ms"), [("0s", 0), ("60s", 60_000), ("250ms", 250), ("5m", 300_000), ("2h", 7_200_000), ("7", 7)]
)
def test_a_length_of_time_is_read_as_people_write_it(text: str, ms: int) -> None:
    """A number and a unit; milliseconds without one."""
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "s", "-1s", "1.5s", "1 s", "1w", "٣s", "1s\n"])
def test_anything_else_is_refused(text: str) -> None:
    """With an example of what is meant."""
    with pytest.raises(BadInput, match="60s"):
        parse_duration_ms(text)
