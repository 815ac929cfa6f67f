"""Frames written by hand are frames as the library reads them, and shared tails say what the structs say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode

from gateway.wire import Delivery, EncodedMessage, frame_bytes, message_frame
from schemas.frames import JSON, MSGPACK, Deliver
from schemas.tables import HistoryRow
from tests.builders import a_message
from tests.gateway.frames import read_frames


@given(st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 70_000]), st.booleans())
def test_a_frame_is_read_frames_as_it_was_written(size: int, text: bool) -> None:
    """Every length form of RFC 6455, both opcodes."""
    payload = b"x" * size
    (frame,) = read_frames(frame_bytes(JSON if text else MSGPACK, payload))
    assert frame.data == payload
    assert frame.fin
    assert frame.opcode is (Opcode.TEXT if text else Opcode.BINARY)


@given(
    st.integers(1, 2**40),
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=40),
    st.booleans(),
)
def test_a_delivery_is_what_its_struct_encodes(n: int, texts: list[str], text: bool) -> None:
    """The hand-made frame parses to the `deliver` with this n and these messages, in both subprotocols."""
    codec = JSON if text else MSGPACK
    messages = [a_message(seq=i, text=said, client_msg_id=f"m{i}") for i, said in enumerate(texts, 1)]
    delivery = Delivery([EncodedMessage(m) for m in messages], 0.0)
    (frame,) = read_frames(delivery.frame(n, text))
    parsed = codec.parse_server(bytes(frame.data))
    assert isinstance(parsed, Deliver)
    assert parsed.n == n
    assert [(m.seq, m.content) for m in parsed.messages] == [(i, {"text": t}) for i, t in enumerate(texts, 1)]


def test_the_same_n_gives_the_same_bytes() -> None:
    """A retransmission is the frame that was sent, also after other sessions had their turn."""
    delivery = Delivery([EncodedMessage(a_message())], 0.0)
    first = delivery.frame(7, True)
    delivery.frame(8, True)
    assert delivery.frame(7, True) == first


def test_a_row_shows_what_became_of_it() -> None:
    """Edit and recall are seen in messages from the history, and only there."""
    row = HistoryRow("d:a:b", 1, "id", "a", "m", "text", "{}", 5, 3, ["b"], edited_at_ms=9, recalled=True)
    frame = message_frame(row, True)
    assert (frame.edited_at_ms, frame.recalled, frame.quote.seq if frame.quote else 0) == (9, True, 3)
    assert message_frame(a_message(), True).edited_at_ms is None
