"""WebSocket frames of a client, read from whatever pieces the socket brings.

The usual frame, whole, masked and not fragmented, is unmasked right here (1 µs); every other one
goes to the parser of `websockets` (3 µs), which also answers pings, closes and breaches of the protocol.
"""

from __future__ import annotations

from typing import Final, cast

from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

try:
    from websockets.speedups import apply_mask
except ImportError:  # websockets was installed without its C part
    from websockets.utils import apply_mask

__all__ = ["FrameReader"]

_WHOLE_TEXT: Final = 0x81
_WHOLE: Final = (_WHOLE_TEXT, 0x82)
_MASKED: Final = 0x80
_OPCODE: Final = 0x0F
_MASK_BYTES: Final = 4
_TOO_MANY_FRAGMENTS: Final = 1008
_NOT_UTF8: Final = 1007


class FrameReader:
    """Bytes in, messages out, in order.

    `parser` always stands between two frames, except while `_due` bytes of one are still to come;
    a header that is cut waits in `_rest`. Limits: those of the parser, also for
    fragments together; and `max_fragments` of one message (1008). A text that is not UTF-8 ends it (1007).
    """

    __slots__ = (
        "_due",
        "_fragment_count",
        "_fragments",
        "_limit_bytes",
        "_max_fragments",
        "_rest",
        "_text",
        "odd",
        "parser",
    )

    def __init__(self, parser: Protocol, limit_bytes: int, max_fragments: int) -> None:
        if parser.side is not Side.SERVER:
            raise ValueError("frames of clients are read by a server")
        self.parser = parser
        self._limit_bytes = limit_bytes
        self._max_fragments = max_fragments
        self._fragment_count = 0
        self.odd = 0
        """Frames of the last `feed` that were not a whole message each: fragments, pings, closes."""
        self._due = 0
        self._rest = b""
        self._fragments: bytearray | None = None
        self._text = False

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """The messages that are complete now, each with whether it came as text."""
        messages: list[tuple[bytes, bool]] = []
        self.odd = 0
        if self._rest:
            data, self._rest = self._rest + data, b""
        parser, position, size = self.parser, 0, len(data)
        if self._due:
            position = min(self._due, size)
            self._due -= position
            self._parse(data[:position], messages)
        while position < size:
            body, end = _bounds(data, position)
            if not end:
                self._rest = data[position:]
                break
            first = data[position]
            if first in _WHOLE and end <= size and self._is_plain(body, end):
                payload = apply_mask(data[body:end], data[body - _MASK_BYTES : body])
                self._complete(payload, first == _WHOLE_TEXT, messages)
            else:
                if first & _OPCODE == Opcode.CLOSE:
                    parser.current_size = (
                        None  # a client may close between fragments: no breach (Autobahn 7.1.5)
                    )
                self._due = max(0, end - size)
                self._parse(data[position:end], messages)
            position = end
        return messages

    def _is_plain(self, body: int, end: int) -> bool:
        parser = self.parser
        return parser.current_size is None and parser.state is State.OPEN and end - body <= self._limit_bytes

    def _parse(self, data: bytes, messages: list[tuple[bytes, bool]]) -> None:
        self.parser.receive_data(data)
        for event in self.parser.events_received():
            frame = cast(Frame, event)
            self.odd += 1
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._assemble(frame, messages)

    def _complete(self, payload: bytes, text: bool, messages: list[tuple[bytes, bool]]) -> None:
        """A text that is none ends the connection (RFC 6455, 8.1); most are ASCII, which is soon seen."""
        if text and not payload.isascii() and not _is_utf8(payload):
            self.parser.fail(_NOT_UTF8, "a text is UTF-8")
        else:
            messages.append((payload, text))

    def _assemble(self, frame: Frame, messages: list[tuple[bytes, bool]]) -> None:
        """The parser has checked the order of fragments and bounds their sum."""
        if self._fragments is None:
            self._fragments = bytearray()
            self._text = frame.opcode is Opcode.TEXT
        self._fragments += frame.data
        self._fragment_count += 1
        if self._fragment_count > self._max_fragments:
            self.parser.fail(_TOO_MANY_FRAGMENTS, "too many fragments")
        elif frame.fin:
            self._complete(bytes(self._fragments), self._text, messages)
            self._fragments = None
            self._fragment_count = 0


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _bounds(data: bytes, position: int) -> tuple[int, int]:
    """Where the payload of the frame at `position` begins and ends; (0, 0) if its header is cut.

    A frame without a mask ends beyond everything: the parser gets the rest, and refuses it.
    """
    if len(data) < position + 2:
        return 0, 0
    second = data[position + 1]
    if not second & _MASKED:
        return position, len(data) + 1
    length, body = second & 0x7F, position + 2
    if length >= 126:
        width = 2 if length == 126 else 8
        if len(data) < body + width:
            return 0, 0
        length = int.from_bytes(data[body : body + width], "big")
        body += width
    body += _MASK_BYTES
    if len(data) < body:
        return 0, 0
    return body, body + length
