"""Times as operators type them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from pipeline.tap import parse_since_ms
from schemas.errors import BadInput

__all__ = ["parse_time_ms"]

_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


def parse_time_ms(text: str, now_ms: int) -> int:
    """`10m` or `2h` ago, `10:20` today, an ISO 8601 time, or milliseconds since 1970; UTC unless it says
    otherwise. Raises `BadInput`."""
    if re.fullmatch(r"\d+(ms|s|m|h|d)?", text):
        return parse_since_ms(text, now_ms)
    try:
        if match := _CLOCK.fullmatch(text):
            hour, minute, second = (int(part or 0) for part in match.groups())
            today = datetime.fromtimestamp(now_ms / 1000, UTC)
            at = today.replace(hour=hour, minute=minute, second=second, microsecond=0)
        else:
            at = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"a time reads 10m, 10:20, 2026-11-21T10:20 or ms since 1970, not {text!r}") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
