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


def read_by_the_library(parser: Protocol, pieces: list[bytes]) -> list[tuple[bytes, bool]]:
    """What the library alone makes of it; a text that is not UTF-8 is refused for it, as its user would."""
    messages: list[tuple[bytes, bool]] = []
    held, text = b"", False
    for piece in pieces:
        parser.receive_data(piece)
        for event in parser.events_received():
            assert isinstance(event, Frame)
            if event.opcode in DATA:
                held, text = b"", event.opcode is Opcode.TEXT
            elif event.opcode is not Opcode.CONT:
                continue
            held += event.data
            if event.fin and text and not is_utf8(held):
                parser.fail(1007, "a text is UTF-8")
                return messages
            if event.fin:
                messages.append((held, text))
    return messages


def is_utf8(data: bytes) -> bool:
    return data.decode(errors="replace").encode() == data


@given(traffic, st.lists(st.integers(1, 400), max_size=60))
def test_any_traffic_in_any_pieces_gives_the_messages_of_the_library(
    groups: list[list[tuple[Opcode, bytes, bool]]], cuts: list[int]
) -> None:
    """Whole, fragmented and control frames, every length form, cut anywhere; and the same answers."""
    data = b"".join(masked(*frame) for group in groups for frame in group)
    library, reader = a_parser(), a_reader()
    expected = read_by_the_library(library, [masked(*frame) for group in groups for frame in group])
    messages: list[tuple[bytes, bool]] = []
    for cut in cuts:
        piece, data = data[:cut], data[cut:]
        messages += reader.feed(piece)
    messages += reader.feed(data)
    assert messages == expected
    assert b"".join(reader.parser.data_to_send()) == b"".join(library.data_to_send())


@given(st.binary(max_size=400), st.lists(st.integers(1, 20), max_size=20))
def test_any_bytes_end_as_the_library_ends_them(data: bytes, cuts: list[int]) -> None:
    """A breach of the protocol closes with the code of the library, and nothing is read after it."""
    data += bytes(14)
    library, reader = a_parser(), a_reader()
    expected = read_by_the_library(library, [data[i : i + 1] for i in range(len(data))])
    messages: list[tuple[bytes, bool]] = []
    for cut in cuts:
        piece, data = data[:cut], data[cut:]
        messages += reader.feed(piece)
    messages += reader.feed(data)
    assert messages == expected
    if library.close_sent is not None and "incomplete fragmented" in library.close_sent.reason:
        return  # a close between fragments, which we take as any other
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


def test_a_text_that_is_not_utf8_ends_the_connection() -> None:
    """1007, whole or in fragments; bytes are anything, and a character may be cut between two fragments."""
    for frames in (
        [masked(Opcode.TEXT, b"\xff")],
        [masked(Opcode.TEXT, b"a", fin=False), masked(Opcode.CONT, b"\xed\xa0\x80")],
    ):
        reader = a_reader()
        assert reader.feed(b"".join(frames) + masked(Opcode.TEXT, b"after")) == []
        assert reader.parser.close_sent is not None
        assert reader.parser.close_sent.code == 1007
    good = [
        masked(Opcode.TEXT, b"\xc3", fin=False),
        masked(Opcode.CONT, b"\xa9"),
        masked(Opcode.BINARY, b"\xff"),
    ]
    assert a_reader().feed(b"".join(good)) == [(b"\xc3\xa9", True), (b"\xff", False)]


def test_a_close_between_two_fragments_is_a_close() -> None:
    """RFC 6455, 5.4: a control frame may stand there; it is answered with its own code."""
    reader = a_reader()
    close = masked(Opcode.CLOSE, (1000).to_bytes(2, "big"))
    data = masked(Opcode.TEXT, b"a", fin=False) + close + masked(Opcode.CONT, b"b")
    assert reader.feed(data) == []
    assert reader.parser.close_sent is not None
    assert reader.parser.close_sent.code == 1000
