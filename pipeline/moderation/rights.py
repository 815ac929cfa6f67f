"""Who may do what, by kind of request: tables of checks.

Every check looks at the state after all earlier events of the conversation, so the order of the
log decides: a member that is removed by event k cannot write k+1.

    said (text … custom)     members that are neither blocked nor muted; in channels owner and admins
    system                   the service, member or not: gateways let nobody else say it
    edit                     the author, for a day
    recall                   the author, for two minutes; else owner and admins, over lower ranks
    reaction                 as said; whether the message exists is not asked
    group created            anybody, under an id that no group ever had (a channel: gateways ask for the
                             role server)
    group renamed, muted     owner and admins (one user: only over lower ranks)
    group dissolved, role    the owner; never his own role
    joined                   any member may add; those inside already stay as they are. A channel: anybody
                             joins himself, owner and admins add
    removed                  owner and admins, over lower ranks; so nobody removes the owner
    left                     oneself; a group may go on without an owner
    blocked, unblocked       each of the two users of a direct conversation, the other one

A mute silences; it does not keep anybody from recalling, adding or leaving.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from pipeline.moderation.request import Request
from schemas.codes import Code
from schemas.conversation import ConversationState, GroupEvent, Member, MemberEvent, Role
from schemas.ids import ConversationKind, direct_users
from schemas.records import EVENT_KINDS
from schemas.tables import HistoryRow

__all__ = ["EDIT_WINDOW_MS", "RECALL_WINDOW_MS", "Target", "refusal"]

RECALL_WINDOW_MS: Final = 2 * 60_000
EDIT_WINDOW_MS: Final = 24 * 3_600_000

Target = HistoryRow | Literal["missing", "not_yet"]
"""What stands where a recall or an edit points: `not_yet` may still be on its way to the history."""


def refusal(state: ConversationState, request: Request, target: Target) -> Code | None:
    """The code that refuses a request, or None. The time is when the gateway took it."""
    case = _Case(state, request, state.members.get(request.inbound.sender), target)
    for check in _CHECKS.get(request.inbound.kind, _SAID):
        code = check(case)
        if code is not None:
            return code
    return None


class _Case(msgspec.Struct, frozen=True, gc=False):
    state: ConversationState
    request: Request
    sender: Member | None
    target: Target

    @property
    def now_ms(self) -> int:
        return self.request.inbound.received_at_ms

    def outranks(self, user_id: str) -> bool:
        """Whether the sender stands above a user, who may have left."""
        other = self.state.members.get(user_id)
        rank = _RANK[other.role] if other is not None and other.inside else 0
        return self.sender is not None and _RANK[self.sender.role] > rank


_Check = Callable[[_Case], Code | None]
_RANK: Final[dict[Role, int]] = {"member": 0, "admin": 1, "owner": 2}


def _inside(case: _Case) -> Code | None:
    """To who never was a member, a conversation that exists answers like one that doesn't."""
    if case.sender is None:
        return Code.NO_SUCH_CONVERSATION
    if not case.sender.inside or not case.state.exists:
        return Code.NOT_A_MEMBER
    return None


def _exists(case: _Case) -> Code | None:
    return None if case.state.exists else Code.NO_SUCH_CONVERSATION


def _may_speak(case: _Case) -> Code | None:
    return Code.NOT_ALLOWED if case.state.kind == "channel" and not _is_staff(case) else None


def _not_blocked(case: _Case) -> Code | None:
    state = case.state
    blocked = state.blocked_by and state.blocked_by - {case.request.inbound.sender}
    return Code.BLOCKED if blocked else None


def _not_muted(case: _Case) -> Code | None:
    assert case.sender is not None
    until_ms = case.sender.muted_until_ms
    if case.sender.role == "member":
        until_ms = max(until_ms, case.state.muted_until_ms)
    return Code.MUTED if until_ms > case.now_ms else None


def _target_stands(case: _Case) -> Code | None:
    """Whether there is something that could be recalled or edited."""
    if not isinstance(case.target, HistoryRow):
        return Code.UNAVAILABLE if case.target == "not_yet" else Code.NOT_ALLOWED
    if case.target.kind in EVENT_KINDS:
        return Code.NOT_ALLOWED
    return Code.RECALL_TOO_LATE if case.target.recalled else None


def _may_recall(case: _Case) -> Code | None:
    assert isinstance(case.target, HistoryRow)
    if case.state.kind != "direct" and _is_staff(case):
        own = case.target.sender == case.request.inbound.sender
        return None if own or case.outranks(case.target.sender) else Code.NOT_ALLOWED
    return _own_within(case, case.target, RECALL_WINDOW_MS)


def _may_edit(case: _Case) -> Code | None:
    assert isinstance(case.target, HistoryRow)
    return _own_within(case, case.target, EDIT_WINDOW_MS)


def _own_within(case: _Case, target: HistoryRow, window_ms: int) -> Code | None:
    if target.sender != case.request.inbound.sender:
        return Code.NOT_ALLOWED
    return Code.RECALL_TOO_LATE if case.now_ms - target.sent_at_ms > window_ms else None


def _may_change(case: _Case) -> Code | None:
    """Group and member events: their own table, by action."""
    event = case.request.content
    assert isinstance(event, GroupEvent | MemberEvent)
    kinds, rule = _EVENTS[event.action]
    if case.state.kind not in kinds:
        return Code.NOT_ALLOWED
    return None if rule(case, event) else Code.NOT_ALLOWED


def _is_new(case: _Case, _: Any) -> bool:
    return not case.state.exists and not case.state.members


def _is_staff(case: _Case, _: Any = None) -> bool:
    return case.sender is not None and case.sender.role != "member"


def _is_owner(case: _Case, _: Any) -> bool:
    return case.sender is not None and case.sender.role == "owner"


def _adds_members(case: _Case, event: MemberEvent) -> bool:
    if not event.users or event.role not in (None, "member"):
        return False
    return case.state.kind == "group" or _is_staff(case) or _oneself(case, event)


def _over_lower_ranks(case: _Case, event: MemberEvent) -> bool:
    return bool(event.users) and _is_staff(case) and all(map(case.outranks, event.users))


def _oneself(case: _Case, event: MemberEvent) -> bool:
    return event.users == [case.request.inbound.sender]


def _gives_role(case: _Case, event: MemberEvent) -> bool:
    if event.role is None or not event.users or case.request.inbound.sender in event.users:
        return False
    return _is_owner(case, event) and all(map(case.state.is_member, event.users))


def _mutes(case: _Case, event: MemberEvent) -> bool:
    if event.until_ms is None or not _is_staff(case):
        return False
    return all(case.state.is_member(user_id) and case.outranks(user_id) for user_id in event.users)


def _the_other(case: _Case, event: MemberEvent) -> bool:
    sender = case.request.inbound.sender
    return event.users == [u for u in direct_users(case.state.conversation_id) if u != sender]


_MANY: Final = ("group", "channel")
_EVENTS: Final[dict[str, tuple[tuple[ConversationKind, ...], Callable[[_Case, Any], bool]]]] = {
    "created": (_MANY, _is_new),
    "renamed": (_MANY, _is_staff),
    "dissolved": (_MANY, _is_owner),
    "joined": (_MANY, _adds_members),
    "removed": (_MANY, _over_lower_ranks),
    "left": (_MANY, _oneself),
    "role": (_MANY, _gives_role),
    "muted": (_MANY, _mutes),
    "blocked": (("direct",), _the_other),
    "unblocked": (("direct",), _the_other),
}


def _inside_or_new(case: _Case) -> Code | None:
    event = case.request.content
    return None if isinstance(event, GroupEvent) and event.action == "created" else _inside(case)


def _inside_or_coming(case: _Case) -> Code | None:
    """Whoever joins a channel himself needs it to exist, and nothing else."""
    event = case.request.content
    joins = isinstance(event, MemberEvent) and event.action == "joined" and _oneself(case, event)
    return _exists(case) if joins and case.state.kind == "channel" else _inside(case)


_SAID: Final[tuple[_Check, ...]] = (_inside, _may_speak, _not_blocked, _not_muted)
_CHECKS: Final[dict[str, tuple[_Check, ...]]] = {
    "recall": (_inside, _target_stands, _may_recall),
    "edit": (*_SAID, _target_stands, _may_edit),
    "group": (_inside_or_new, _may_change),
    "member": (_inside_or_coming, _may_change),
    "system": (_exists,),
}
"""By kind; kinds that are not here are said aloud."""
