"""What a client asks, as the one record the pipeline takes: client frame → Inbound.

Everything that changes something in a conversation goes this way, also group changes and blocks.
Here is checked what the frame alone can tell; who may do it is judged by moderation, at the
message's place in the order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast
from zlib import crc32

import msgspec

from schemas.codes import Code
from schemas.conversation import GroupEvent, MemberEvent
from schemas.errors import BadInput, Refused
from schemas.frames import (
    ChannelJoin,
    ChannelLeave,
    ClientMsgId,
    ConversationBlock,
    Edit,
    GroupAdd,
    GroupCreate,
    GroupLeave,
    GroupMute,
    GroupRemove,
    GroupRename,
    GroupRole,
    React,
    Recall,
    Send,
)
from schemas.ids import conversation_kind, direct_users, new_message_id, new_name
from schemas.records import Inbound, Kind

__all__ = [
    "MAX_TEXT_BYTES",
    "Announcement",
    "Author",
    "Change",
    "Said",
    "check_conversation",
    "check_role",
    "inbound_of",
    "is_request",
]

MAX_TEXT_BYTES: Final = 16_384
MAX_URL_BYTES: Final = 2_048
_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """What the service says in a conversation, member or not: kind `system`, and no frame of a client."""

    conversation_id: str
    client_msg_id: ClientMsgId
    content: dict[str, Any]


Said = Send | Recall | Edit | React
"""Frames that carry a client_msg_id and are answered like `send`."""
Change = (
    GroupCreate
    | GroupAdd
    | GroupRemove
    | GroupRole
    | GroupMute
    | GroupRename
    | GroupLeave
    | ChannelJoin
    | ChannelLeave
    | ConversationBlock
)
"""Frames that are answered by `ok` once their event has its place in the order."""


class Author(msgspec.Struct, frozen=True, gc=False):
    """Who asks, and where the answer goes."""

    user_id: str
    gateway_id: str
    session_id: str


class _Plan(msgspec.Struct, frozen=True, gc=False):
    conversation_id: str
    kind: Kind
    content: Any
    client_msg_id: str = ""
    quote_seq: int = 0
    mentions: list[str] = []


def check_role(frame: Said | Change, is_server: bool) -> None:
    """Raises `Refused` for what only the service may ask: a channel is nobody's own affair."""
    if isinstance(frame, GroupCreate) and frame.kind == "channel" and not is_server:
        raise Refused(Code.NOT_ALLOWED, "a channel is made by a token of the role server")


def is_request(frame: Said | Change) -> bool:
    """Whether `ok` answers this frame, and not `accepted` and `sent`."""
    return type(frame) in _CHANGES


def inbound_of(frame: Said | Change | Announcement, author: Author, now_ms: int) -> Inbound:
    """The record for this frame, with a fresh message id. Raises `Refused` if the frame breaks a rule."""
    plan = _PLANS[type(frame)](frame, author.user_id)
    content = _json(plan.content)
    return Inbound(
        conversation_id=plan.conversation_id,
        message_id=new_message_id(),
        sender=author.user_id,
        client_msg_id=plan.client_msg_id or new_name(),
        content_crc=crc32(content, crc32(plan.kind.encode())),
        kind=plan.kind,
        gateway_id=author.gateway_id,
        session_id=author.session_id,
        received_at_ms=now_ms,
        content=content.decode(),
        quote_seq=plan.quote_seq,
        mentions=plan.mentions,
    )


def check_conversation(conversation_id: str, user_id: str) -> str:
    """The kind of a conversation this user may name. A direct one of two others does not exist for him."""
    try:
        kind = conversation_kind(conversation_id)
    except BadInput as error:
        raise Refused(Code.BAD_FRAME, str(error)) from None
    if kind == "direct" and user_id not in direct_users(conversation_id):
        raise Refused(Code.NO_SUCH_CONVERSATION)
    return kind


def _names(users: list[str]) -> list[str]:
    """Each once."""
    return list(dict.fromkeys(users))


def _json(content: Any) -> bytes:
    try:
        return _encode(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused(Code.BAD_FRAME, f"content has no JSON form: {error}"[:200]) from None


# What is said


def _send(frame: Send, user_id: str) -> _Plan:
    check_conversation(frame.conversation_id, user_id)
    _CONTENT[frame.kind](frame.content)
    return _Plan(
        frame.conversation_id,
        frame.kind,
        frame.content,
        frame.client_msg_id,
        frame.quote.seq if frame.quote else 0,
        _names(frame.mentions),
    )


def _announcement(frame: Announcement, user_id: str) -> _Plan:
    check_conversation(frame.conversation_id, user_id)
    if "text" in frame.content or not frame.content:
        _check_text(frame.content)
    return _Plan(frame.conversation_id, "system", frame.content, frame.client_msg_id)


def _recall(frame: Recall, user_id: str) -> _Plan:
    check_conversation(frame.conversation_id, user_id)
    return _Plan(frame.conversation_id, "recall", {"seq": frame.seq}, frame.client_msg_id)


def _edit(frame: Edit, user_id: str) -> _Plan:
    check_conversation(frame.conversation_id, user_id)
    if "text" in frame.content:
        _check_text(frame.content)
    elif not frame.content:
        raise Refused(Code.BAD_FRAME, "an edit needs content; to take a message back, recall it")
    return _Plan(
        frame.conversation_id, "edit", {"seq": frame.seq, "content": frame.content}, frame.client_msg_id
    )


def _react(frame: React, user_id: str) -> _Plan:
    check_conversation(frame.conversation_id, user_id)
    content = {"seq": frame.seq, "emoji": frame.emoji, "add": frame.add}
    return _Plan(frame.conversation_id, "reaction", content, frame.client_msg_id)


def _check_text(content: dict[str, Any]) -> None:
    text = content.get("text")
    if not isinstance(text, str) or not text:
        raise Refused(Code.BAD_FRAME, 'content of a text is {"text": "…"}, and not empty')
    if len(text) > MAX_TEXT_BYTES or len(text.encode(errors="surrogatepass")) > MAX_TEXT_BYTES:
        raise Refused(Code.BAD_FRAME, f"a text has at most {MAX_TEXT_BYTES} bytes")


def _check_media(content: dict[str, Any]) -> None:
    url, size_bytes = content.get("url"), content.get("size_bytes")
    if not isinstance(url, str) or not 0 < len(url) <= MAX_URL_BYTES:
        raise Refused(Code.BAD_FRAME, f"media need a url of at most {MAX_URL_BYTES} characters")
    if not isinstance(size_bytes, int) or isinstance(size_bytes, bool) or size_bytes < 0:
        raise Refused(Code.BAD_FRAME, "media need size_bytes, an integer that is not negative")


def _check_custom(content: dict[str, Any]) -> None:
    """An application's own content is its own business."""


_CONTENT: Final[dict[str, Callable[[dict[str, Any]], None]]] = {
    "text": _check_text,
    "image": _check_media,
    "voice": _check_media,
    "video": _check_media,
    "file": _check_media,
    "custom": _check_custom,
}


# Changes to a conversation


def _group_create(frame: GroupCreate, user_id: str) -> _Plan:
    members = [m for m in _names(frame.members) if m != user_id]
    event = GroupEvent(action="created", by=user_id, name=frame.name, members=members)
    conversation_id = f"{frame.kind[0]}:{frame.group_id or new_name()}"
    check_conversation(conversation_id, user_id)
    return _Plan(conversation_id, "group", event)


def _group_rename(frame: GroupRename, user_id: str) -> _Plan:
    event = GroupEvent(action="renamed", by=user_id, name=frame.name)
    return _Plan(_group(frame, user_id), "group", event)


def _group_add(frame: GroupAdd, user_id: str) -> _Plan:
    event = MemberEvent(action="joined", by=user_id, users=_names(frame.members))
    return _Plan(_group(frame, user_id), "member", event)


def _group_remove(frame: GroupRemove, user_id: str) -> _Plan:
    event = MemberEvent(action="removed", by=user_id, users=_names(frame.members))
    return _Plan(_group(frame, user_id), "member", event)


def _group_leave(frame: GroupLeave, user_id: str) -> _Plan:
    event = MemberEvent(action="left", by=user_id, users=[user_id])
    return _Plan(_group(frame, user_id), "member", event)


def _group_role(frame: GroupRole, user_id: str) -> _Plan:
    event = MemberEvent(action="role", by=user_id, users=_names([frame.user_id]), role=frame.role)
    return _Plan(_group(frame, user_id), "member", event)


def _group_mute(frame: GroupMute, user_id: str) -> _Plan:
    users = [] if frame.user_id is None else _names([frame.user_id])
    event = {"action": "muted", "by": user_id, "users": users, "until_ms": frame.until_ms}
    return _Plan(_group(frame, user_id), "member", event)


def _channel_join(frame: ChannelJoin, user_id: str) -> _Plan:
    return _Plan(
        _channel(frame, user_id), "member", MemberEvent(action="joined", by=user_id, users=[user_id])
    )


def _channel_leave(frame: ChannelLeave, user_id: str) -> _Plan:
    return _Plan(_channel(frame, user_id), "member", MemberEvent(action="left", by=user_id, users=[user_id]))


def _channel(frame: ChannelJoin | ChannelLeave, user_id: str) -> str:
    if check_conversation(frame.conversation_id, user_id) != "channel":
        raise Refused(Code.BAD_FRAME, "this request is for channels")
    return frame.conversation_id


def _block(frame: ConversationBlock, user_id: str) -> _Plan:
    if check_conversation(frame.conversation_id, user_id) != "direct":
        raise Refused(Code.BAD_FRAME, "only the other user of a direct conversation can be blocked")
    other = next(u for u in direct_users(frame.conversation_id) if u != user_id)
    event = MemberEvent(action="blocked" if frame.blocked else "unblocked", by=user_id, users=[other])
    return _Plan(frame.conversation_id, "member", event)


def _group(
    frame: GroupRename | GroupAdd | GroupRemove | GroupLeave | GroupRole | GroupMute, user_id: str
) -> str:
    if check_conversation(frame.conversation_id, user_id) == "direct":
        raise Refused(Code.BAD_FRAME, "this request is for groups and channels")
    return frame.conversation_id


_CHANGES: Final[dict[type, Any]] = {
    GroupCreate: _group_create,
    GroupAdd: _group_add,
    GroupRemove: _group_remove,
    GroupRole: _group_role,
    GroupMute: _group_mute,
    GroupRename: _group_rename,
    GroupLeave: _group_leave,
    ChannelJoin: _channel_join,
    ChannelLeave: _channel_leave,
    ConversationBlock: _block,
}
_PLANS: Final = cast(
    "dict[type, Callable[[Any, str], _Plan]]",
    {Send: _send, Recall: _recall, Edit: _edit, React: _react, Announcement: _announcement, **_CHANGES},
)
