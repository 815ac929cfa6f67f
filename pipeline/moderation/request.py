"""One record of im.inbound, read and checked: what the gateways promise, and what a forged record breaks."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec

from infra.ports import Record
from schemas.codec import INBOUND
from schemas.conversation import GroupEvent, MemberEvent, parse_event
from schemas.errors import BadInput, Undecodable
from schemas.ids import CLIENT_MSG_ID, conversation_kind, is_name
from schemas.records import STATE_KINDS, Inbound, Kind

__all__ = ["EditContent", "ReactionContent", "RecallContent", "Request", "read_request"]

_Seq = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
_MAX_TIME_MS: Final = 2**53
_CLIENT_MSG_ID: Final = re.compile(CLIENT_MSG_ID)
_known_name: Final = lru_cache(maxsize=65_536)(is_name)


class RecallContent(msgspec.Struct, frozen=True, gc=False):
    """Take a message back."""

    seq: _Seq


class EditContent(msgspec.Struct, frozen=True):
    """Say a message anew."""

    seq: _Seq
    content: dict[str, Any]


class ReactionContent(msgspec.Struct, frozen=True, gc=False):
    """Put a sign under a message, or take it away."""

    seq: _Seq
    emoji: str
    add: bool


Content = dict[str, Any] | RecallContent | EditContent | ReactionContent | GroupEvent | MemberEvent

_DECODERS: Final[dict[Kind, Callable[[str], Content]]] = {
    "recall": msgspec.json.Decoder(RecallContent).decode,
    "edit": msgspec.json.Decoder(EditContent).decode,
    "reaction": msgspec.json.Decoder(ReactionContent).decode,
}
_decode_object: Final[Callable[[str], Content]] = msgspec.json.Decoder(dict[str, Any]).decode


class Request(msgspec.Struct, frozen=True, gc=False):
    """An Inbound, its own bytes, and its content by kind."""

    inbound: Inbound
    body: bytes
    content: Content | None
    """None: nested too deeply to be read."""

    def plain_content(self) -> dict[str, Any]:
        """The content as it would be written."""
        if isinstance(self.content, dict):
            return self.content
        content: dict[str, Any] = msgspec.json.decode(self.inbound.content)
        return content

    @property
    def target_seq(self) -> int | None:
        """The message that a recall or an edit is about."""
        content = self.content
        return content.seq if isinstance(content, RecallContent | EditContent) else None


def read_request(record: Record) -> Request:
    """Decode and check a record. Raises `Undecodable` or `BadInput` for what no gateway would write."""
    _, inbound, body = INBOUND.split(record.value)
    _check_ids(inbound, record.key)
    return Request(inbound, body, _content(inbound))


def _check_ids(inbound: Inbound, key: bytes | None) -> None:
    if key != inbound.conversation_id.encode():
        raise BadInput("the record's key is not its conversation_id")
    _check_conversation(inbound.conversation_id)
    for name in (inbound.sender, inbound.gateway_id, inbound.session_id or "-"):
        if not _known_name(name):
            raise BadInput(f"{name[:100]!r} is no name")
    if not _CLIENT_MSG_ID.fullmatch(inbound.client_msg_id):
        raise BadInput("client_msg_id must be 1–64 visible ASCII characters")
    if not 0 <= inbound.received_at_ms <= _MAX_TIME_MS or inbound.quote_seq < 0:
        raise BadInput("a time or a seq is out of range")
    if inbound.mentions and not all(map(_known_name, inbound.mentions)):
        raise BadInput("mentions are user names")


@lru_cache(maxsize=65_536)
def _check_conversation(conversation_id: str) -> None:
    conversation_kind(conversation_id)


def _content(inbound: Inbound) -> Content | None:
    if inbound.kind in STATE_KINDS:
        event = parse_event(inbound.kind, inbound.content)
        _check_event(event, inbound.sender)
        return event
    try:
        return _DECODERS.get(inbound.kind, _decode_object)(inbound.content)
    except RecursionError:
        return None
    except msgspec.DecodeError as error:
        raise Undecodable(f"not the content of a {inbound.kind}: {error}") from error


def _check_event(event: GroupEvent | MemberEvent, sender: str) -> None:
    if event.by != sender:
        raise BadInput("an event is made by its sender")
    users = event.members if isinstance(event, GroupEvent) else event.users
    if not all(map(_known_name, users)):
        raise BadInput("an event names users by their names")
    if (
        isinstance(event, GroupEvent)
        and event.action != "dissolved"
        and not 1 <= len(event.name or "") <= 200
    ):
        raise BadInput("the name of a group has 1–200 characters")
    if isinstance(event, MemberEvent) and not 0 <= (event.until_ms or 0) <= _MAX_TIME_MS:
        raise BadInput("until_ms is out of range")
