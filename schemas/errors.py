"""Every error Skein raises, drawn as one tree.

ImError
├── BadInput                theirs: a frame, token, id or record that breaks the contract
│   └── Refused             a request that was understood and is answered by a code of `schemas.codes`
├── Undecodable             a record or row whose bytes do not fit its schema: goes to im.dlq
├── Unavailable             the world's: an engine is away or slow; try again later, nothing is known lost
│   └── OutcomeUnknown      it may or may not have happened: repeat it with the same ids
├── Fenced                  somebody newer owns this partition, session or lease: stop, change nothing
└── SettingsError           ours, at start: a setting that cannot be used
"""

from __future__ import annotations

from schemas.codes import Code

__all__ = [
    "BadInput",
    "Fenced",
    "ImError",
    "OutcomeUnknown",
    "Refused",
    "SettingsError",
    "Unavailable",
    "Undecodable",
]


class ImError(Exception):
    """Root of everything Skein raises on purpose."""


class BadInput(ImError):
    """The other side broke the contract; the text says where, and is safe to show to them."""


class Refused(BadInput):
    """A request that is answered with an error code."""

    def __init__(self, code: Code, message: str = "", retry_after_ms: int | None = None) -> None:
        super().__init__(message or code.text)
        self.code = code
        self.message = message or code.text
        self.retry_after_ms = retry_after_ms


class Undecodable(ImError):
    """Bytes that do not fit their schema."""


class Unavailable(ImError):
    """A service we depend on cannot answer now."""


class OutcomeUnknown(Unavailable):
    """The effect may have happened. Repeating it with the same ids is safe."""


class Fenced(ImError):
    """A newer owner exists; whatever this one would write is void."""


class SettingsError(ImError):
    """A setting that cannot be used; the text names the variable."""
