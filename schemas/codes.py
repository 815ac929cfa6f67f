"""Error codes and close codes: one table each, the numbers of the client protocol."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CloseCode", "Code"]


class Code(IntEnum):
    """Why a request was refused. `text` is for people, `temporary` says whether trying again can help."""

    text: str
    temporary: bool
    http_status: int

    def __new__(cls, number: int, text: str, temporary: bool, http_status: int) -> Code:
        code = int.__new__(cls, number)
        code._value_ = number
        code.text = text
        code.temporary = temporary
        code.http_status = http_status
        return code

    BAD_FRAME = 1001, "the frame does not fit the protocol", False, 400
    FRAME_TOO_LARGE = 1002, "the frame is larger than max_frame_bytes", False, 413
    UNKNOWN_TYPE = 1003, "no frame has this type", False, 400
    NOT_A_MEMBER = 1101, "you are not a member of this conversation", False, 403
    NOT_ALLOWED = 1102, "your role does not allow this", False, 403
    NO_SUCH_CONVERSATION = 1103, "there is no such conversation", False, 404
    BLOCKED = 1104, "this user does not take messages from you", False, 403
    MUTED = 1105, "you are muted in this conversation", False, 403
    MODERATED = 1201, "a rule of this service does not allow this content", False, 403
    DUPLICATE_CONFLICT = 1202, "this client_msg_id was used for other content", False, 409
    RECALL_TOO_LATE = 1203, "this message can no longer be recalled or edited", False, 409
    RATE_LIMITED = 1301, "too many requests", True, 429
    OVERLOADED = 1302, "too many sends are waiting for their answer", True, 503
    UNAVAILABLE = 1303, "the service cannot keep messages right now", True, 503
    BAD_TOKEN = 1401, "the token is missing, wrong or expired", False, 401
    SUSPENDED = 1402, "this user or address is suspended", True, 403

    @property
    def wire_name(self) -> str:
        return self.name.lower()


class CloseCode(IntEnum):
    """Why a gateway closes a connection: below 4500 connect again (full jitter), from 4500 on don't."""

    text: str

    def __new__(cls, number: int, text: str) -> CloseCode:
        code = int.__new__(cls, number)
        code._value_ = number
        code.text = text
        return code

    DRAIN = 4000, "this gateway is being drained"
    SLOW_READER = 4001, "the client reads too slowly"
    ACK_TIMEOUT = 4002, "deliveries were not acknowledged"
    HEARTBEAT_LOST = 4003, "nothing was heard for too long"
    FULL = 4004, "this gateway is full"
    BAD_TOKEN = 4500, "the token expired or was revoked"
    SUSPENDED = 4501, "this user is suspended"
    REPLACED = 4502, "a newer connection of this device took over"
    PROTOCOL_ERROR = 4503, "the client broke the protocol repeatedly"
    KICKED = 4504, "an operator closed this connection"

    @property
    def reconnect(self) -> bool:
        return self < 4500
