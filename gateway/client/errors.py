"""What an application that uses the SDK can catch, drawn as one tree.

ImError
├── BadInput
│   └── ServerRefused       the server understood and said no; `code`, `name` and `temporary` say why
├── OutboxFull              more sends wait than the outbox may hold: wait for some, then try again
└── Unavailable
    ├── ClientClosed        this client is closed and will not connect again; `code` says why
    └── OutcomeUnknown      a request got no answer: it may or may not have happened
"""

from __future__ import annotations

from schemas.errors import BadInput, ImError, Unavailable
from schemas.frames import Error, Rejected

__all__ = ["ClientClosed", "OutboxFull", "ServerRefused"]


class ServerRefused(BadInput):
    """The server answered `rejected` or `error`. `code` is a number of `schemas.codes`, or a newer one."""

    def __init__(self, answer: Rejected | Error) -> None:
        super().__init__(f"{answer.code} {answer.name}: {answer.message}")
        self.code = answer.code
        self.name = answer.name
        self.message = answer.message
        self.temporary = answer.temporary
        self.retry_after_ms = answer.retry_after_ms


class OutboxFull(ImError):
    """The outbox holds as many unanswered sends as it may."""


class ClientClosed(Unavailable):
    """The client ended by `close()` (1000), by a terminal close code, or refused with an HTTP status."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason
