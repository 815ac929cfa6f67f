"""The token of `sync`: to a client a text it keeps, here how far it has everything, and where it pages.

A paging token holds all that the next page needs, so any gateway can give it. It has at most 200 characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

__all__ = ["Place", "SyncToken", "parse_token", "places"]

_DONE: Final = re.compile(r"1([0-9]{1,15})", re.ASCII)
_PAGING: Final = re.compile(
    r"1p(-|r|[0-9]{1,15})\.([0-9]{1,15})\.(m|[0-9]{1,15})\.([0-9]{0,16})\.([dgc]:[A-Za-z0-9._:-]{1,129})",
    re.ASCII,
)


class Place(msgspec.Struct, frozen=True, gc=False):
    """A conversation that is to be sent next."""

    conversation_id: str
    newest_ms: int | None
    """The time of its newest message when it was put in its place; None among those that moved."""
    after_seq: int | None = None
    """What an earlier page has sent of it; None: nothing."""


class SyncToken(msgspec.Struct, frozen=True, gc=False):
    """ "The client has every message with sent_at_ms below `since_ms`"; None: it has nothing.

    With a `place` the sync is under way: it goes on there, and ends at `target_ms`. `reset`: it began
    because the token that came first was of no use.
    """

    since_ms: int | None
    target_ms: int = 0
    place: Place | None = None
    reset: bool = False

    def __str__(self) -> str:
        place = self.place
        if place is None:
            return f"1{self.since_ms}"
        since = ("r" if self.reset else "-") if self.since_ms is None else self.since_ms
        newest = "m" if place.newest_ms is None else place.newest_ms
        after = "" if place.after_seq is None else place.after_seq
        return f"1p{since}.{self.target_ms}.{newest}.{after}.{place.conversation_id}"


def parse_token(text: str) -> SyncToken | None:
    """The token; None if this was never one of ours."""
    if match := _DONE.fullmatch(text):
        return SyncToken(int(match[1]))
    match = _PAGING.fullmatch(text)
    if match is None:
        return None
    since, target, newest, after, conversation_id = match.groups()
    place = Place(conversation_id, None if newest == "m" else int(newest), int(after) if after else None)
    return SyncToken(int(since) if since.isdigit() else None, int(target), place, since == "r")


def places(changed: Mapping[str, int], token: SyncToken) -> list[Place]:
    """What is left of a sync, in order, by what has changed now (conversation → ms of its newest message).

    With a `since_ms` the order is that of the ids, which nothing moves. Without one it is latest first; a
    conversation that was not sent yet and gets a message jumps over the place, so whatever has a message from
    the target on comes once more at the end. That may repeat, and passes nobody over: every other
    conversation stands where it stood when the sync began.
    """
    at = token.place
    if token.since_ms is not None:
        first = "" if at is None else at.conversation_id
        order = [Place(c, changed[c]) for c in sorted(changed) if c >= first]
    elif at is None:
        order = [Place(c, changed[c]) for c in sorted(changed, key=lambda c: (-changed[c], c))]
    else:
        order = _from(changed, at, token.target_ms)
    if at is not None and order and order[0].conversation_id == at.conversation_id:
        order[0] = msgspec.structs.replace(order[0], after_seq=at.after_seq)
    return order


def _from(changed: Mapping[str, int], at: Place, target_ms: int) -> list[Place]:
    moved = sorted(c for c in changed if changed[c] >= target_ms)
    if at.newest_ms is None:
        return [Place(c, None) for c in moved if c >= at.conversation_id]
    place = (-at.newest_ms, at.conversation_id)
    older = sorted((-at_ms, c) for c, at_ms in changed.items() if (-at_ms, c) >= place)
    return [*(Place(c, -at_ms) for at_ms, c in older), *(Place(c, None) for c in moved)]
