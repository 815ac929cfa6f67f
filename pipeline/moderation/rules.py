"""Who may do what, by kind of request: tables of checks, and one verdict.

Every check looks at the state after all earlier events of the conversation, so the order of the
log decides: a member that is removed by event k cannot write k+1.

    said (text … custom)     members that are neither blocked nor muted
    edit                     the author, for a day
    recall                   the author, for two minutes; in groups owner and admins, over lower ranks
    reaction                 as said; whether the message exists is not asked
    group created            anybody, under an id that no group ever had
    group renamed, muted     owner and admins (one user: only over lower ranks)
    group dissolved, role    the owner; never his own role
    joined                   any member may add; those inside already stay as they are
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
from pipeline.moderation.texts import replace_texts, texts_of
from pipeline.moderation.words import WordFilter, mask
from schemas.codes import Code
from schemas.conversation import ConversationState, GroupEvent, Member, MemberEvent, Role
from schemas.errors import Refused
from schemas.ids import direct_users
from schemas.records import EVENT_KINDS
from schemas.tables import HistoryRow
from schemas.topics import MAX_RECORD_BYTES

__all__ = [
    "ACCEPTED",
    "EDIT_WINDOW_MS",
    "RECALL_WINDOW_MS",
    "Target",
    "Verdict",
    "judge",
    "judge_repeat",
    "reject",
]

RECALL_WINDOW_MS: Final = 2 * 60_000
EDIT_WINDOW_MS: Final = 24 * 3_600_000
_MAX_BODY_BYTES: Final = MAX_RECORD_BYTES // 4
"""Masking can make it three times as long, and every later stage puts something before it."""

Target = HistoryRow | Literal["missing", "not_yet"]
"""What stands where a recall or an edit points: `not_yet` may still be on its way to the history."""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What becomes of a request. `content` is the masked content; `message` is for the sender alone."""

    verdict: Literal["accept", "mask", "reject"]
    rules: tuple[str, ...] = ()
    code: Code | None = None
    message: str = ""
    content: str | None = None


ACCEPTED: Final = Verdict("accept")


def reject(code: Code, message: str = "", rules: tuple[str, ...] = ()) -> Verdict:
    return Verdict("reject", rules, code, message)


def judge(state: ConversationState, request: Request, words: WordFilter, target: Target) -> Verdict:
    """Decide about one request: first what the sender may do, then what he says."""
    if len(request.body) > _MAX_BODY_BYTES:
        return reject(Code.FRAME_TOO_LARGE)
    if request.content is None:
        return reject(Code.BAD_FRAME, "content is nested too deeply")
    case = _Case(state, request, state.members.get(request.inbound.sender), target)
    for check in _CHECKS.get(request.inbound.kind, _SAID):
        code = check(case)
        if code is not None:
            return reject(code)
    return _judge_words(request, words)


def judge_repeat(request: Request, words: WordFilter) -> Verdict:
    """Decide about a request that was accepted before: it is again, so that it gets its first answer again.

    Nobody will read it, as long as sequencing remembers the first one too; in case it does not,
    no listed word gets through.
    """
    verdict = _judge_words(request, words)
    if verdict.verdict != "reject":
        return verdict
    return Verdict("mask", verdict.rules, content=_masked_content(request, words))


def _judge_words(request: Request, words: WordFilter) -> Verdict:
    """Decide by the listed words alone: the strictest action of all rules that have a hit."""
    if words.is_empty:
        return ACCEPTED
    kind, content = request.inbound.kind, request.plain_content()
    try:
        hits = [hit for text in texts_of(kind, content) for hit in words.find(text)]
    except Refused as refused:
        return reject(refused.code, refused.message)
    if not hits:
        return ACCEPTED
    rules = tuple(dict.fromkeys(hit.rule.id for hit in hits))
    actions = {hit.rule.action for hit in hits}
    if "reject" in actions:
        classes = dict.fromkeys(hit.rule.rule_class for hit in hits if hit.rule.action == "reject")
        return reject(Code.MODERATED, f"{Code.MODERATED.text} ({', '.join(classes)})", rules)
    if "mask" in actions:
        return Verdict("mask", rules, content=_masked_content(request, words))
    return Verdict("accept", rules)


def _masked_content(request: Request, words: WordFilter) -> str:
    def masked(text: str) -> str:
        return mask(text, (hit for hit in words.find(text) if hit.rule.action != "accept"))

    return replace_texts(request.inbound.kind, request.plain_content(), masked)


# Checks: the code that refuses, or None


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


def _may_recall(case: _Case) -> Code | None:
    target = case.target
    if not isinstance(target, HistoryRow):
        return _absent(target)
    if target.kind in EVENT_KINDS:
        return Code.NOT_ALLOWED
    if target.recalled:
        return Code.RECALL_TOO_LATE
    if case.state.kind == "group" and _is_staff(case):
        own = target.sender == case.request.inbound.sender
        return None if own or case.outranks(target.sender) else Code.NOT_ALLOWED
    return _own_within(case, target, RECALL_WINDOW_MS)


def _may_edit(case: _Case) -> Code | None:
    target = case.target
    if not isinstance(target, HistoryRow):
        return _absent(target)
    if target.kind in EVENT_KINDS:
        return Code.NOT_ALLOWED
    if target.recalled:
        return Code.RECALL_TOO_LATE
    return _own_within(case, target, EDIT_WINDOW_MS)


def _absent(target: Literal["missing", "not_yet"]) -> Code:
    return Code.UNAVAILABLE if target == "not_yet" else Code.NOT_ALLOWED


def _own_within(case: _Case, target: HistoryRow, window_ms: int) -> Code | None:
    if target.sender != case.request.inbound.sender:
        return Code.NOT_ALLOWED
    return Code.RECALL_TOO_LATE if case.now_ms - target.sent_at_ms > window_ms else None


def _may_change(case: _Case) -> Code | None:
    """Group and member events: their own table, by action."""
    event = case.request.content
    assert isinstance(event, GroupEvent | MemberEvent)
    kinds, rule = _EVENTS[event.action]
    if case.state.kind != kinds:
        return Code.NOT_ALLOWED
    return None if rule(case, event) else Code.NOT_ALLOWED


def _is_new(case: _Case, _: Any) -> bool:
    return not case.state.exists and not case.state.members


def _is_staff(case: _Case, _: Any = None) -> bool:
    return case.sender is not None and case.sender.role != "member"


def _is_owner(case: _Case, _: Any) -> bool:
    return case.sender is not None and case.sender.role == "owner"


def _adds_members(_: _Case, event: MemberEvent) -> bool:
    return bool(event.users) and event.role in (None, "member")


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


_EVENTS: Final[dict[str, tuple[Literal["direct", "group"], Callable[[_Case, Any], bool]]]] = {
    "created": ("group", _is_new),
    "renamed": ("group", _is_staff),
    "dissolved": ("group", _is_owner),
    "joined": ("group", _adds_members),
    "removed": ("group", _over_lower_ranks),
    "left": ("group", _oneself),
    "role": ("group", _gives_role),
    "muted": ("group", _mutes),
    "blocked": ("direct", _the_other),
    "unblocked": ("direct", _the_other),
}


def _inside_or_new(case: _Case) -> Code | None:
    event = case.request.content
    return None if isinstance(event, GroupEvent) and event.action == "created" else _inside(case)


_SAID: Final[tuple[_Check, ...]] = (_inside, _not_blocked, _not_muted)
_CHECKS: Final[dict[str, tuple[_Check, ...]]] = {
    "recall": (_inside, _may_recall),
    "edit": (*_SAID, _may_edit),
    "group": (_inside_or_new, _may_change),
    "member": (_inside, _may_change),
}
"""By kind; kinds that are not here are said aloud."""
