"""Who is in a conversation and what they may do: a pure fold over the events of its own stream.

Moderation (to judge), fan-out (to address) and the gateways (to answer `history`) hold the same
`ConversationState`, so there is no lock and no cache to invalidate: each judges event k+1 with the
state after event k. Positions are seqs; moderation, which runs before there is a seq, uses offsets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from schemas.errors import Undecodable
from schemas.ids import ConversationKind, conversation_kind, direct_users
from schemas.records import STATE_KINDS, Kind

__all__ = [
    "ConversationState",
    "GroupEvent",
    "Member",
    "MemberEvent",
    "Role",
    "fold",
    "parse_event",
]

Role = Literal["owner", "admin", "member"]


class GroupEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Content of a message of kind `group`. `members` stands with `created` only."""

    action: Literal["created", "renamed", "dissolved"]
    by: str
    name: str | None = None
    members: list[str] = []


class MemberEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Content of a message of kind `member`. `muted` without users mutes all but owner and admins."""

    action: Literal["joined", "removed", "left", "role", "muted", "blocked", "unblocked"]
    by: str
    users: list[str] = []
    role: Role | None = None
    until_ms: int | None = None


@dataclass(slots=True)
class Member:
    """One user's way through a conversation: `spans` are (joined, left) positions, left 0 while inside."""

    role: Role = "member"
    muted_until_ms: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)

    @property
    def inside(self) -> bool:
        return bool(self.spans) and self.spans[-1][1] == 0

    @property
    def joined(self) -> int:
        """Where the newest stay began."""
        return self.spans[-1][0] if self.spans else 0

    @property
    def left(self) -> int:
        """Where the newest stay ended; 0 while inside."""
        return self.spans[-1][1] if self.spans else 0

    def saw(self, position: int) -> bool:
        """Whether what stands at `position` was sent to this user: the join and the leave themselves were."""
        return any(joined <= position and (left == 0 or position <= left) for joined, left in self.spans)


@dataclass(slots=True)
class ConversationState:
    """The state after every event up to `position`."""

    conversation_id: str
    kind: ConversationKind
    exists: bool = False
    name: str = ""
    muted_until_ms: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    """Everybody who is or ever was a member."""
    blocked_by: set[str] = field(default_factory=set)
    """Direct conversations: who of the two takes no messages from the other."""
    inside_count: int = 0
    peak_count: int = 0
    """The most members it ever had: decides once and for all between write- and read-diffusion."""
    position: int = 0

    @classmethod
    def new(cls, conversation_id: str) -> ConversationState:
        """Before the first event. A direct conversation exists by its name alone."""
        kind = conversation_kind(conversation_id)
        state = cls(conversation_id, kind)
        if kind == "direct":
            state.exists = True
            state._join(direct_users(conversation_id), 0, "member")
        return state

    def is_member(self, user_id: str) -> bool:
        member = self.members.get(user_id)
        return member is not None and member.inside

    def was_member(self, user_id: str) -> bool:
        return user_id in self.members

    def inside(self) -> list[str]:
        """The members now, in the order they first came."""
        return [user_id for user_id, member in self.members.items() if member.inside]

    def joined(self) -> dict[str, int]:
        """The members now, each with where his stay began."""
        return {user_id: member.joined for user_id, member in self.members.items() if member.inside}

    def apply(self, event: GroupEvent | MemberEvent, position: int) -> None:
        """Take one event. Events at or before the state's position are repeats and change nothing."""
        if position <= self.position:
            return
        self.position = position
        if isinstance(event, GroupEvent):
            self._apply_group(event, position)
        else:
            self._apply_member(event, position)

    def _apply_group(self, event: GroupEvent, position: int) -> None:
        match event.action:
            case "created":
                self.exists = True
                self.name = event.name or ""
                self._join((event.by,), position, "owner")
                self._join(event.members, position, "member")
            case "renamed":
                self.name = event.name or ""
            case "dissolved":
                self.exists = False
                self._leave(self.inside(), position)

    def _apply_member(self, event: MemberEvent, position: int) -> None:
        match event.action:
            case "joined":
                self._join(event.users, position, event.role or "member")
            case "removed" | "left":
                self._leave(event.users, position)
            case "role":
                for user_id in event.users:
                    if event.role is not None and user_id in self.members:
                        self.members[user_id].role = event.role
            case "muted":
                self._mute(event.users, event.until_ms or 0)
            case "blocked":
                self.blocked_by.add(event.by)
            case "unblocked":
                self.blocked_by.discard(event.by)

    def _join(self, users: tuple[str, ...] | list[str], position: int, role: Role) -> None:
        for user_id in users:
            member = self.members.setdefault(user_id, Member())
            if not member.inside:
                member.spans.append((position, 0))
                member.role = role
                member.muted_until_ms = 0
                self.inside_count += 1
        self.peak_count = max(self.peak_count, self.inside_count)

    def _leave(self, users: list[str], position: int) -> None:
        for user_id in users:
            member = self.members.get(user_id)
            if member is not None and member.inside:
                member.spans[-1] = (member.joined, position)
                self.inside_count -= 1

    def _mute(self, users: list[str], until_ms: int) -> None:
        if not users:
            self.muted_until_ms = until_ms
        for user_id in users:
            if user_id in self.members:
                self.members[user_id].muted_until_ms = until_ms


def parse_event(kind: Kind, content: str) -> GroupEvent | MemberEvent:
    """The event inside a message of a kind in `STATE_KINDS`. Raises `Undecodable`."""
    try:
        if kind == "group":
            return msgspec.json.decode(content, type=GroupEvent)
        return msgspec.json.decode(content, type=MemberEvent)
    except msgspec.DecodeError as error:
        raise Undecodable(f"not a {kind} event: {error}") from error


def fold(conversation_id: str, events: list[tuple[int, Kind, str]]) -> ConversationState:
    """The state after (position, kind, content) events in order; other kinds are passed over."""
    state = ConversationState.new(conversation_id)
    for position, kind, content in events:
        if kind in STATE_KINDS:
            state.apply(parse_event(kind, content), position)
    return state
