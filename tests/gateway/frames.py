"""Server frames as a client's own parser reads them."""

from __future__ import annotations

from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.protocol import State
from websockets.uri import parse_uri

__all__ = ["read_frames"]


def read_frames(data: bytes) -> list[Frame]:
    client = ClientProtocol(parse_uri("ws://x/"), state=State.OPEN, max_size=None)
    client.receive_data(data)
    return [event for event in client.events_received() if isinstance(event, Frame)]
