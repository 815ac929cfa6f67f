"""The frames of client protocol v1: msgspec structs are the wire, in JSON and in msgpack alike.

Decoding checks types, lengths and patterns in the same step (0.7 µs). What no type can say
(sorted users, a member's rights) is checked where the frame is handled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from schemas.codes import Code
from schemas.errors import Refused
from schemas.ids import CLIENT_MSG_ID, END
from schemas.records import Kind

__all__ = [
    "Accepted", "Ack", "ClientFrame", "Conversation", "ConversationBlock", "ConversationMute", "Deliver",
    "Drain", "Edit", "Error", "FrameCodec", "GroupAdd", "GroupCreate", "GroupInfo", "GroupLeave",
    "GroupMembers", "GroupMute", "GroupRemove", "GroupRename", "GroupRole", "History", "HistoryPage",
    "JSON", "Kicked", "Limits", "MSGPACK", "Message", "Ok", "Page", "Ping", "Pong", "Presence",
    "PresenceSubscribe", "PresenceUnsubscribe", "Quote", "React", "Read", "ReadAll", "Recall", "Receipt",
    "Rejected", "RequestId", "Send", "Sent", "ServerFrame", "SUBPROTOCOLS", "Sync", "TypingClient",
    "TypingServer", "Welcome", "ChannelJoin", "ChannelLeave", "peek_frame",
]  # fmt: skip

RequestId = int | Annotated[str, Meta(max_length=64)]
Name = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9._-]{{1,64}}{END}")]
ConversationId = Annotated[str, Meta(pattern=rf"^[dgc]:[A-Za-z0-9._:-]{{1,129}}{END}")]
ClientMsgId = Annotated[str, Meta(pattern=CLIENT_MSG_ID)]
Seq = Annotated[int, Meta(ge=0, le=2**53)]
Content = dict[str, Any]
Spoken = Literal["text", "image", "voice", "video", "file", "custom"]
Names = Annotated[list[Name], Meta(max_length=1_000)]
Title = Annotated[str, Meta(min_length=1, max_length=200)]


# Shapes inside frames


class Quote(Struct, frozen=True):
    seq: Seq


class Message(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A message as clients see it; `content` is an object (`msgspec.Raw` where passed on encoded)."""

    conversation_id: str
    seq: int
    message_id: str
    client_msg_id: str
    sender: str
    kind: Kind
    content: Any
    sent_at_ms: int
    quote: Quote | None = None
    mentions: list[str] = []
    edited_at_ms: int | None = None
    recalled: bool = False


class Conversation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A row of the conversation list. `name` and `members` (a count) are extensions for groups."""

    conversation_id: str
    kind: Literal["direct", "group", "channel"]
    head: int
    read_seq: int
    unread: int
    mentioned: bool
    muted: bool
    last_message: Message | None = None
    name: str | None = None
    members: int | None = None
    delivered_seq: int | None = None
    """Direct conversations: how far the other user's devices got; `peer_read_seq`: how far they read."""
    peer_read_seq: int | None = None


class Limits(Struct, frozen=True):
    max_frame_bytes: int
    max_inflight: int
    sends_per_s: int
    send_burst: int


class Presence(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type", tag="presence"):
    user_id: str
    online: bool
    platforms: list[str]
    last_seen_ms: int | None = None


# Server → client


class _Frame(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    pass


class Welcome(_Frame, frozen=True, kw_only=True, tag="welcome"):
    user_id: str
    session_id: str
    gateway_id: str
    server_time_ms: int
    heartbeat_s: int
    resumed: bool
    limits: Limits


class Accepted(_Frame, frozen=True, kw_only=True, tag="accepted"):
    client_msg_id: str
    accepted_at_ms: int
    re: RequestId | None = None


class Sent(_Frame, frozen=True, kw_only=True, tag="sent"):
    client_msg_id: str
    conversation_id: str
    seq: int
    message_id: str
    sent_at_ms: int
    re: RequestId | None = None


class Rejected(_Frame, frozen=True, kw_only=True, tag="rejected"):
    client_msg_id: str
    conversation_id: str
    code: int
    name: str
    message: str
    temporary: bool
    retry_after_ms: int | None = None
    message_id: str | None = None
    """Of this try, if it came into the log: a later try under the same client_msg_id has another."""
    re: RequestId | None = None


class Deliver(_Frame, frozen=True, kw_only=True, tag="deliver"):
    n: int
    messages: list[Message]


class Page(_Frame, frozen=True, kw_only=True, tag="page"):
    messages: list[Message]
    conversations: list[Conversation]
    token: str
    more: bool
    reset: bool
    until_ms: int = 0
    """With the last page the client has every message of his that was sent before this time."""
    re: RequestId | None = None


class HistoryPage(_Frame, frozen=True, kw_only=True, tag="history"):
    conversation_id: str
    messages: list[Message]
    more: bool
    re: RequestId | None = None


class Receipt(_Frame, frozen=True, kw_only=True, tag="receipt"):
    conversation_id: str
    user_id: str
    delivered_seq: int | None = None
    read_seq: int | None = None


class TypingServer(_Frame, frozen=True, kw_only=True, tag="typing"):
    conversation_id: str
    user_id: str
    active: bool


class Pong(_Frame, frozen=True, kw_only=True, tag="pong"):
    server_time_ms: int
    token: str
    heads: dict[str, int]
    re: RequestId | None = None


class Drain(_Frame, frozen=True, kw_only=True, tag="drain"):
    reconnect_after_ms: int


class Kicked(_Frame, frozen=True, kw_only=True, tag="kicked"):
    code: int
    reason: str


class Ok(_Frame, frozen=True, kw_only=True, tag="ok"):
    """What stands beside `re` depends on the request."""

    re: RequestId | None = None
    conversation_id: str | None = None
    name: str | None = None
    members: list[dict[str, Any]] | None = None
    member_count: int | None = None
    presence: list[Presence] | None = None
    muted: bool | None = None


class Error(_Frame, frozen=True, kw_only=True, tag="error"):
    code: int
    name: str
    message: str
    temporary: bool
    retry_after_ms: int | None = None
    re: RequestId | None = None

    @classmethod
    def of(cls, refused: Refused, re: RequestId | None = None) -> Error:
        code = refused.code
        return cls(
            code=int(code),
            name=code.wire_name,
            message=refused.message,
            temporary=code.temporary,
            retry_after_ms=refused.retry_after_ms,
            re=re,
        )


ServerFrame = (
    Welcome | Accepted | Sent | Rejected | Deliver | Page | HistoryPage | Receipt | TypingServer | Presence
    | Pong | Drain | Kicked | Ok | Error
)  # fmt: skip


# Client → server


class Send(_Frame, frozen=True, kw_only=True, tag="send"):
    client_msg_id: ClientMsgId
    conversation_id: ConversationId
    kind: Spoken
    content: Content
    quote: Quote | None = None
    mentions: Annotated[list[Name], Meta(max_length=100)] = []
    id: RequestId | None = None


class Ack(_Frame, frozen=True, kw_only=True, tag="ack"):
    n: int


class Sync(_Frame, frozen=True, kw_only=True, tag="sync"):
    token: str | None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    id: RequestId | None = None


class History(_Frame, frozen=True, kw_only=True, tag="history"):
    conversation_id: ConversationId
    before_seq: Seq | None = None
    after_seq: Seq | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    id: RequestId | None = None


class Read(_Frame, frozen=True, kw_only=True, tag="read"):
    conversation_id: ConversationId
    seq: Seq
    id: RequestId | None = None


class ReadAll(_Frame, frozen=True, kw_only=True, tag="read_all"):
    id: RequestId | None = None


class TypingClient(_Frame, frozen=True, kw_only=True, tag="typing"):
    conversation_id: ConversationId
    active: bool


class _Change(_Frame, frozen=True, kw_only=True):
    client_msg_id: ClientMsgId
    conversation_id: ConversationId
    seq: Annotated[int, Meta(ge=1, le=2**53)]
    id: RequestId | None = None


class Recall(_Change, frozen=True, kw_only=True, tag="recall"):
    pass


class Edit(_Change, frozen=True, kw_only=True, tag="edit"):
    content: Content


class React(_Change, frozen=True, kw_only=True, tag="react"):
    emoji: Annotated[str, Meta(min_length=1, max_length=32)]
    add: bool


class _Request(_Frame, frozen=True, kw_only=True):
    conversation_id: ConversationId
    id: RequestId | None = None


class GroupCreate(_Frame, frozen=True, kw_only=True, tag="group.create"):
    name: Title
    members: Names
    group_id: Name | None = None
    kind: Literal["group", "channel"] = "group"
    """A channel is made by a token of the role `server`."""
    id: RequestId | None = None


class GroupAdd(_Request, frozen=True, kw_only=True, tag="group.add"):
    members: Annotated[Names, Meta(min_length=1)]


class GroupRemove(_Request, frozen=True, kw_only=True, tag="group.remove"):
    members: Annotated[Names, Meta(min_length=1)]


class GroupRole(_Request, frozen=True, kw_only=True, tag="group.role"):
    user_id: Name
    role: Literal["owner", "admin", "member"]


class GroupMute(_Request, frozen=True, kw_only=True, tag="group.mute"):
    until_ms: Annotated[int, Meta(ge=0, le=2**53)]
    user_id: Name | None = None


class GroupRename(_Request, frozen=True, kw_only=True, tag="group.rename"):
    name: Title


class GroupLeave(_Request, frozen=True, kw_only=True, tag="group.leave"):
    pass


class GroupInfo(_Request, frozen=True, kw_only=True, tag="group.info"):
    pass


class GroupMembers(_Request, frozen=True, kw_only=True, tag="group.members"):
    pass


class ChannelJoin(_Request, frozen=True, kw_only=True, tag="channel.join"):
    pass


class ChannelLeave(_Request, frozen=True, kw_only=True, tag="channel.leave"):
    pass


class ConversationMute(_Request, frozen=True, kw_only=True, tag="conversation.mute"):
    muted: bool = True


class ConversationBlock(_Request, frozen=True, kw_only=True, tag="conversation.block"):
    blocked: bool = True


class PresenceSubscribe(_Frame, frozen=True, kw_only=True, tag="presence.subscribe"):
    user_ids: Names
    id: RequestId | None = None


class PresenceUnsubscribe(_Frame, frozen=True, kw_only=True, tag="presence.unsubscribe"):
    user_ids: Names
    id: RequestId | None = None


class Ping(_Frame, frozen=True, kw_only=True, tag="ping"):
    id: RequestId | None = None


ClientFrame = (
    Send | Ack | Sync | History | Read | ReadAll | TypingClient | Recall | Edit | React
    | GroupCreate | GroupAdd | GroupRemove | GroupRole | GroupMute | GroupRename | GroupLeave | GroupInfo
    | GroupMembers | ChannelJoin | ChannelLeave | ConversationMute | ConversationBlock
    | PresenceSubscribe | PresenceUnsubscribe | Ping
)  # fmt: skip
_CLIENT_TYPES = frozenset(str(frame.__struct_config__.tag) for frame in get_args(ClientFrame))


class _Peek(Struct):
    """What can still be read of a frame that does not fit: enough to answer it."""

    type: Any = None
    id: Any = None
    client_msg_id: Any = None
    conversation_id: Any = None


class FrameCodec:
    """One subprotocol. `parse_client` and `parse_server` raise `Refused` with the code to answer."""

    def __init__(self, subprotocol: str, text: bool) -> None:
        module: Any = msgspec.json if text else msgspec.msgpack
        self.subprotocol = subprotocol
        self.text = text
        self.encode: Callable[[Any], bytes] = module.Encoder().encode
        self._client = module.Decoder(ClientFrame)
        self._server = module.Decoder(ServerFrame)
        self._peek = module.Decoder(_Peek)

    def parse_client(self, data: bytes) -> ClientFrame:
        frame: ClientFrame = self._parse(self._client, data)
        return frame

    def parse_server(self, data: bytes) -> ServerFrame:
        frame: ServerFrame = self._parse(self._server, data)
        return frame

    def peek(self, data: bytes) -> _Peek:
        """Whatever can be read of a frame that `parse_client` refused."""
        try:
            peek: _Peek = self._peek.decode(data)
            return peek
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return _Peek()

    def _parse(self, decoder: Any, data: bytes) -> Any:
        try:
            return decoder.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            frame_type = self.peek(data).type
            if isinstance(frame_type, str) and frame_type not in _CLIENT_TYPES and decoder is self._client:
                raise Refused(Code.UNKNOWN_TYPE, f"no frame has the type {frame_type[:64]!r}") from error
            raise Refused(Code.BAD_FRAME, str(error)[:200]) from error


def peek_frame(codec: FrameCodec, data: bytes) -> tuple[RequestId | None, str | None, str | None]:
    """(id, client_msg_id, conversation_id) of a refused frame, each only if it has a usable shape."""
    peek = codec.peek(data)
    request_id = peek.id if isinstance(peek.id, str | int) and not isinstance(peek.id, bool) else None
    if isinstance(request_id, str) and len(request_id) > 64:
        request_id = None
    client_msg_id, conversation_id = peek.client_msg_id, peek.conversation_id
    try:
        msgspec.convert(client_msg_id, ClientMsgId)
    except msgspec.ValidationError:
        client_msg_id = None
    if not isinstance(conversation_id, str) or len(conversation_id) > 140:
        conversation_id = None
    return request_id, client_msg_id, conversation_id


JSON = FrameCodec("im.v1.json", text=True)
MSGPACK = FrameCodec("im.v1.msgpack", text=False)
SUBPROTOCOLS = {codec.subprotocol: codec for codec in (JSON, MSGPACK)}
