"""Orders to a gateway: the body of an Outbound of kind `close`, as JSON."""

from __future__ import annotations

from typing import Annotated

import msgspec

from schemas.codes import CloseCode
from schemas.errors import Undecodable

__all__ = ["CloseOrder", "parse_order"]

_CODES = {int(code): code for code in CloseCode}


class CloseOrder(msgspec.Struct, frozen=True, omit_defaults=True):
    """Close the connections of the users that the Outbound names; with `device_id` only this device's.

    `since_ms` not 0: only a connection that began then. One that came back to its session since is newer
    than the order.

    With code 4000 and no users: drain the whole gateway over `over_ms`, or (`undo`) take clients again.
    """

    code: int
    reason: str = ""
    device_id: str = ""
    over_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)] = 0
    undo: bool = False
    since_ms: int = 0

    @classmethod
    def of(cls, code: CloseCode, device_id: str = "", since_ms: int = 0) -> CloseOrder:
        return cls(int(code), code.text, device_id, since_ms=since_ms)

    @classmethod
    def drain(cls, over_ms: int, undo: bool = False) -> CloseOrder:
        return cls(int(CloseCode.DRAIN), CloseCode.DRAIN.text, over_ms=over_ms, undo=undo)

    @property
    def close_code(self) -> CloseCode:
        return _CODES[self.code]


def parse_order(body: bytes) -> CloseOrder:
    """Read an order. Raises `Undecodable`, also for a code that is none of ours."""
    try:
        order = msgspec.json.decode(body, type=CloseOrder)
    except msgspec.DecodeError as error:
        raise Undecodable(f"not an order: {error}") from error
    if order.code not in _CODES:
        raise Undecodable(f"no close code {order.code}")
    return order
