"""Lengths of time as people write them: `60s`, `5m`, `250ms`."""

from __future__ import annotations

import re
from typing import Final

from schemas.errors import BadInput

__all__ = ["parse_duration_ms"]

_UNIT_MS: Final = {"": 1, "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FORM: Final = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)?", re.ASCII)


def parse_duration_ms(text: str) -> int:
    """A whole number with a unit; without one, milliseconds. Raises `BadInput`."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise BadInput(f"a length of time is a number and ms, s, m, h or d, as in 60s (given: {text!r})")
    return int(match[1]) * _UNIT_MS[match[2] or ""]
