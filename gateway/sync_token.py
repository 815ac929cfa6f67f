"""The token of `sync`: to a client a text it keeps, here the time up to which that client has everything."""

from __future__ import annotations

import re
from typing import Final

import msgspec

__all__ = ["SyncToken", "parse_token"]

_FORM: Final = re.compile(r"1(?:([0-9]{1,15})|p([0-9]{1,15})?-([0-9]{1,9}))", re.ASCII)


class SyncToken(msgspec.Struct, frozen=True, gc=False):
    """ "The client has every message with sent_at_ms below `since_ms`"; None: it has nothing.

    `page` is 0 outside of paging; else how many pages of a sync that began at `since_ms` were given.
    """

    since_ms: int | None
    page: int = 0

    def __str__(self) -> str:
        if self.page == 0:
            return f"1{self.since_ms}"
        return f"1p{'' if self.since_ms is None else self.since_ms}-{self.page}"


def parse_token(text: str) -> SyncToken | None:
    """The token; None if this was never one of ours."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    done, base, page = match.groups()
    if done is not None:
        return SyncToken(int(done))
    return SyncToken(None if base is None else int(base), int(page))
