"""Frames are read as `websockets` reads them, whatever the pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from gateway.frame_reader import FrameReader

LIMIT = 100_000
DATA = (Opcode.TEXT, Opcode.BINARY)


def a_parser() -> Protocol:
    return Protocol(Side.SERVER, state=State.OPEN, max_size=LIMIT)


def a_reader() -> FrameReader:
    return FrameReader(a_parser(), LIMIT, 1_000)


def masked(opcode: Opcode, data: bytes, fin: bool = True) -> bytes:
    return bytes(Frame(opcode, data, fin).serialize(mask=True))


payloads = st.binary(max_size=140) | st.sampled_from([b"x" * n for n in (125, 126, 65_535, 65_536, 70_000)])
whole = st.tuples(st.sampled_from(DATA), payloads).map(lambda m: [(m[0], m[1], True)])
control = st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=20)).map(
    lambda m: [(m[0], m[1], True)]
)
fragmented = st.tuples(st.sampled_from(DATA), st.lists(st.binary(max_size=30), min_size=1, max_size=4)).map(
    lambda m: (
        [(m[0], b"first", False)] + [(Opcode.CONT, part, i == len(m[1])) for i, part in enumerate(m[1], 1)]
    )
)
traffic = st.lists(whole | control | fragmented, max_size=12)


def messages_of(parser: Protocol) -> list[tuple[bytes, bool]]:
    """What the library alone makes of the frames it was given."""
    messages: list[tuple[bytes, bool]] = []
    held, text = b"", False
    for event in parser.events_received():
        assert isinstance(event, Frame)
        if event.opcode in DATA:
            held, text = b"", event.opcode is Opcode.TEXT
        elif event.opcode is not Opcode.CONT:
            continue
        held += event.data
        if event.fin:
            messages.append((held, text))
    return messages


@given(traffic, st.lists(st.integers(1, 400), max_size=60))
def test_any_traffic_in_any_pieces_gives_the_messages_of_the_library(
    groups: list[list[tuple[Opcode, bytes, bool]]], cuts: list[int]
) -> None:
    """Whole, fragmented and control frames, every length form, cut anywhere; and the same answers."""
    data = b"".join(masked(*frame) for group in groups for frame in group)
    library, reader = a_parser(), a_reader()
    library.receive_data(data)
    messages: list[tuple[bytes, bool]] = []
    for cut in cuts:
        piece, data = data[:cut], data[cut:]
        messages += reader.feed(piece)
    messages += reader.feed(data)
    assert messages == messages_of(library)
    assert b"".join(reader.parser.data_to_send()) == b"".join(library.data_to_send())


@given(st.binary(max_size=400), st.lists(st.integers(1, 20), max_size=20))
def test_any_bytes_end_as_the_library_ends_them(data: bytes, cuts: list[int]) -> None:
    """A breach of the protocol closes with the code of the library, and nothing is read after it."""
    data += bytes(14)
    library, reader = a_parser(), a_reader()
    library.receive_data(data)
    messages: list[tuple[bytes, bool]] = []
    for cut in cuts:
        piece, data = data[:cut], data[cut:]
        messages += reader.feed(piece)
    messages += reader.feed(data)
    assert messages == messages_of(library)
    ends = [parser.close_sent and parser.close_sent.code for parser in (library, reader.parser)]
    assert ends[0] == ends[1]


def test_a_frame_above_the_limit_is_refused_by_its_header() -> None:
    """Without waiting for its payload: 1009."""
    reader = a_reader()
    assert reader.feed(masked(Opcode.TEXT, b"x" * (LIMIT + 1))[:14]) == []
    assert reader.parser.close_sent is not None
    assert reader.parser.close_sent.code == 1009


def test_nothing_is_read_after_a_close() -> None:
    """Frames behind a close frame are discarded."""
    reader = a_reader()
    close = masked(Opcode.CLOSE, (1000).to_bytes(2, "big"))
    assert reader.feed(masked(Opcode.TEXT, b"a") + close + masked(Opcode.TEXT, b"b")) == [(b"a", True)]
    assert reader.feed(masked(Opcode.TEXT, b"c")) == []
