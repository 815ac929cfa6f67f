"""pipeline/ops/times.py"""

from __future__ import annotations

import pytest

from pipeline.ops.times import parse_time_ms
from schemas.errors import BadInput

NOON_MS = 1_795_262_400_000  # 2026-11-21T12:00:00Z


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("10m", NOON_MS - 600_000),
        ("1700000000000", 1_700_000_000_000),
        ("10:20", NOON_MS - 6_000_000),
        ("10:20:30", NOON_MS - 5_970_000),
        ("2026-11-21T11:00", NOON_MS - 3_600_000),
        ("2026-11-21T12:00+01:00", NOON_MS - 3_600_000),
    ],
)
def test_times_are_read_as_operators_write_them(text: str, ms: int) -> None:
    """UTC unless it says otherwise."""
    assert parse_time_ms(text, NOON_MS) == ms


@pytest.mark.parametrize("text", ["", "yesterday", "25:00", "2026-13-01"])
def test_anything_else_is_refused(text: str) -> None:
    """And never taken for some time."""
    with pytest.raises(BadInput, match="a time reads"):
        parse_time_ms(text, NOON_MS)
