"""Orders to a gateway, as records of its own topic: whoever runs there closes what they name."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from infra.ports import Outgoing
from schemas.codec import OUTBOUND
from schemas.orders import CloseOrder
from schemas.records import Outbound
from schemas.topics import outbound_topic

__all__ = ["order_record"]


def order_record(gateway_id: str, order: CloseOrder, users: Sequence[str], session_id: str = "") -> Outgoing:
    """The record for this gateway; with `session_id` it means this session only."""
    outbound = Outbound("close", msgspec.json.encode(order), list(users), session_id=session_id)
    return Outgoing(outbound_topic(gateway_id).name, 0, OUTBOUND.encode(outbound))
