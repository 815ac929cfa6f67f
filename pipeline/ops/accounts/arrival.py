"""Why one member has a message, or has not (yet): a rule over what the log, the history and Redis know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from infra.ports import Route
from schemas.conversation import Member
from schemas.tables import Cursor

__all__ = ["Arrival", "ArrivalState", "Said", "Standing", "arrival_of"]

ArrivalState = Literal["sender", "read", "delivered", "unacked", "overdue", "waiting", "not_a_member"]
"""`waiting`: the next sync brings it. `overdue`: connected all the time, and yet no ack in time."""


class Said(msgspec.Struct, frozen=True):
    """The message in question."""

    seq: int
    sender: str
    sent_at_ms: int


class Standing(msgspec.Struct, frozen=True):
    """What is known of one user. `acked_at_ms` 0: when he acked is not known."""

    user_id: str
    member: Member
    cursor: Cursor
    routes: Sequence[Route]
    acked_at_ms: int = 0


class Arrival(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer for one member; `at_ms` is when he acked, connected or joined, as the text says."""

    user_id: str
    state: ArrivalState
    text: str
    cursor: int = 0
    at_ms: int = 0
    gateways: tuple[str, ...] = ()
    muted: bool = False


def arrival_of(said: Said, user: Standing, now_ms: int, grace_ms: int) -> Arrival:
    """`grace_ms`: how long a connected member may take to ack before something must be wrong."""
    state, text, at_ms = _judge(said, user, now_ms, grace_ms)
    gateways = tuple(sorted({route.gateway_id for route in user.routes}))
    delivered = max(user.cursor.delivered_seq, user.cursor.read_seq)
    return Arrival(user.user_id, state, text, delivered, at_ms, gateways, user.cursor.muted)


def _judge(said: Said, user: Standing, now_ms: int, grace_ms: int) -> tuple[ArrivalState, str, int]:
    if not user.member.saw(said.seq):
        return "not_a_member", _outside(user.member, said.seq), 0
    if user.user_id == said.sender:
        return "sender", "said it", said.sent_at_ms
    if user.cursor.read_seq >= said.seq:
        return "read", f"has read up to seq {user.cursor.read_seq}", user.acked_at_ms
    if user.cursor.delivered_seq >= said.seq:
        return "delivered", f"acked up to seq {user.cursor.delivered_seq}", user.acked_at_ms
    if not user.routes:
        return "waiting", f"offline; acked up to seq {user.cursor.delivered_seq}, the rest comes by sync", 0
    since_ms = min(route.since_ms for route in user.routes)
    if since_ms > said.sent_at_ms:
        return "waiting", "was offline, has connected since: his sync brings it, without an ack", since_ms
    if now_ms - said.sent_at_ms <= grace_ms:
        return "unacked", "connected, no ack yet", since_ms
    return "overdue", f"connected all the time, no ack after {(now_ms - said.sent_at_ms) // 1000} s", since_ms


def _outside(member: Member, seq: int) -> str:
    """Why someone who is or was a member did not see this place."""
    later = [joined for joined, _ in member.spans if joined > seq]
    if later:
        return f"joined later, at seq {min(later)}"
    if member.left:
        return f"left before, at seq {member.left}"
    return "never was a member"
