"""Who gets a message: a pure function of the conversation's state at the message's place in the order.

Write-diffusion (small conversations): every member's inbox learns of it, and the members that are
online are addressed by name. Read-diffusion (large ones): one record per gateway that holds a
member; the gateway knows which of its users are inside. A conversation that once had more members
than the threshold stays large: what the gateways know about it never has to be taken back. A channel
is large from its first event on, so it never changes over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from infra.ports import Head, Outgoing
from infra.telemetry.trace_context import Headers
from schemas.codec import OUTBOUND
from schemas.conversation import ConversationState, GroupEvent, MemberEvent
from schemas.records import Outbound, Routing
from schemas.topics import outbound_topic

__all__ = ["FanoutPlan", "address_large", "address_small", "index_entries", "is_large", "plan_fanout"]


class FanoutPlan(msgspec.Struct, frozen=True, gc=False):
    """Where one message goes: `users` is everybody who sees it, or (large) only who must be named."""

    conversation_id: str
    routing: Routing
    value: bytes
    """The framed Message, passed on as it is."""
    partition: int
    large: bool
    users: Sequence[str]
    joined: Sequence[str] = ()
    left: Sequence[str] = ()
    author: str = ""
    """Who asked for a membership event, if he sees it: his answer comes after it."""
    headers: Headers = ()
    """What goes beside its records, so that its trace goes on."""


def plan_fanout(
    routing: Routing,
    value: bytes,
    partition: int,
    state: ConversationState,
    event: GroupEvent | MemberEvent | None,
    threshold: int,
) -> FanoutPlan:
    """Take the message into the state and say who gets it.

    A membership event is seen by who is inside before or after it: the one who joins sees the
    join, the one who leaves sees the leave, and nothing later.
    """
    if event is None:
        large = is_large(state, threshold)
        everyone = () if large else state.inside()
        return FanoutPlan(state.conversation_id, routing, value, partition, large, everyone)
    before = state.inside()
    state.apply(event, routing.seq)
    after = state.inside()
    left = [user_id for user_id in before if not state.is_member(user_id)]
    known = set(before)
    joined = [user_id for user_id in after if user_id not in known]
    large = is_large(state, threshold)
    users = (*joined, *left) if large else (*after, *left)
    author = event.by if event.by in users else ""
    return FanoutPlan(state.conversation_id, routing, value, partition, large, users, joined, left, author)


def index_entries(plans: Iterable[FanoutPlan]) -> tuple[dict[str, dict[str, int]], dict[str, Head]]:
    """What these messages change in the route table: for each user the conversations (→ sent_at_ms) whose
    inbox entry rises, and the newest head of each conversation. A large one is found by the list of it that
    its members have; who left has it no more, and finds the leave by an entry."""
    touched: dict[str, dict[str, int]] = {}
    heads: dict[str, Head] = {}
    for plan in plans:
        conversation_id, sent_at_ms = plan.conversation_id, plan.routing.sent_at_ms
        heads[conversation_id] = Head(plan.routing.seq, sent_at_ms)
        for user_id in plan.left if plan.large else plan.users:
            touched.setdefault(user_id, {})[conversation_id] = sent_at_ms
    return touched, heads


def is_large(state: ConversationState, threshold: int) -> bool:
    """Whether read-diffusion serves it: a channel from the start, a group once it had so many members."""
    return state.kind == "channel" or state.peak_count > threshold


def address_small(plan: FanoutPlan, gateways_of: Mapping[str, Sequence[str]]) -> list[Outgoing]:
    """One record for each gateway that has a connection of somebody who sees the message."""
    users_at: dict[str, list[str]] = {}
    for user_id in plan.users:
        for gateway_id in gateways_of.get(user_id, ()):
            users_at.setdefault(gateway_id, []).append(user_id)
    # The gateway it came through answers the sender, whatever the routes say: `sent`, or the event and `ok`.
    here = users_at.setdefault(plan.routing.gateway_id, [])
    if plan.author and plan.author not in here:
        here.append(plan.author)
    return [_outgoing(plan, gateway_id, users, expand=False) for gateway_id, users in users_at.items()]


def address_large(plan: FanoutPlan, gateways: Sequence[str], members: Iterable[str]) -> list[Outgoing]:
    """One record for each gateway that may hold a member.

    `members` is everybody inside, when the gateways may not know them yet (the conversation has just
    become large, or Redis was emptied); else it is empty. The gateway it came through answers the sender
    in any case; where it is none of these it does no more, for leaves may have passed it by.
    """
    users = list(dict.fromkeys((*members, *plan.users)))
    out = [_outgoing(plan, gateway_id, users, expand=True) for gateway_id in gateways]
    here = plan.routing.gateway_id
    if here not in gateways:
        out.append(_outgoing(plan, here, [plan.author] if plan.author else [], expand=False))
    return out


def _outgoing(plan: FanoutPlan, gateway_id: str, users: list[str], expand: bool) -> Outgoing:
    outbound = Outbound(
        kind="message",
        body=plan.value,
        users=users,
        source_partition=plan.partition,
        source_offset=plan.routing.source_offset,
        expand=expand,
    )
    return Outgoing(outbound_topic(gateway_id).name, 0, OUTBOUND.encode(outbound), headers=plan.headers)
