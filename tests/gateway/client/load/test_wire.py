"""The bytes of the load generator are frames of the protocol."""

from __future__ import annotations

from gateway.client.load.wire import client_frame, mark, mark_due_us, send_frame
from schemas.frames import JSON, Send

RUN = "0123abcd"


def test_a_mark_carries_its_due_time() -> None:
    """The instant a message was due is read back from its client_msg_id."""
    assert mark_due_us(mark(RUN, 7, 12, 123_456_789)) == 123_456_789


def test_a_prepared_send_is_a_frame_of_the_protocol() -> None:
    """The two pieces around index and due time make a masked frame that the server's codec understands."""
    head, tail = send_frame(RUN, 3, "d:a:b", "hello")
    frame = b"%b%07d%016d%b" % (head, 9, 55, tail)
    start = 8 if frame[1] & 0x7F == 126 else 6
    parsed = JSON.parse_client(frame[start:])
    assert isinstance(parsed, Send)
    assert parsed.client_msg_id == mark(RUN, 3, 9, 55)
    assert client_frame(frame[start:]) == frame
