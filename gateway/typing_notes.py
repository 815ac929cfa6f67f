"""`typing`: told to the others of a direct conversation or small group, wherever they are. May be lost."""

from __future__ import annotations

from typing import Final

from gateway.requests import check_conversation
from gateway.rights import require_member, state_with_blocks
from infra.clock import Clock
from infra.ports import Bus, HistoryStore, Outgoing, RouteTable
from schemas.codec import OUTBOUND
from schemas.conversation import ConversationState
from schemas.frames import JSON, TypingClient, TypingServer
from schemas.records import Outbound
from schemas.topics import outbound_topic

__all__ = ["MAX_TOLD", "TypingNotes"]

MAX_TOLD: Final = 50
"""In a larger group nobody is told: it would cost more than the messages."""


class TypingNotes:
    """Publishes one ephemeral frame to each gateway that holds somebody to tell."""

    def __init__(self, routes: RouteTable, history: HistoryStore, bus: Bus, clock: Clock) -> None:
        self._clock = clock
        self._routes = routes
        self._history = history
        self._bus = bus

    async def tell(self, user_id: str, session_id: str, frame: TypingClient) -> None:
        """Raises `Refused` for a conversation the user is not in, and `Unavailable`."""
        check_conversation(frame.conversation_id, user_id)
        state = await state_with_blocks(self._history, frame.conversation_id)
        require_member(state, user_id)
        others = _told(state, user_id)
        if not others:
            return
        note = TypingServer(conversation_id=frame.conversation_id, user_id=user_id, active=frame.active)
        body, now_ms = JSON.encode(note), self._clock.now_ms()
        gateways: dict[str, list[str]] = {}
        for other, routes in (await self._routes.routes_of(others)).items():
            for gateway_id in {route.gateway_id for route in routes}:
                gateways.setdefault(gateway_id, []).append(other)
        await self._bus.publish(
            [
                Outgoing(
                    outbound_topic(gateway_id).name,
                    0,
                    OUTBOUND.encode(
                        Outbound("frame", body, users, not_session_id=session_id, ephemeral=True)
                    ),
                    timestamp_ms=now_ms,
                )
                for gateway_id, users in gateways.items()
            ]
        )


def _told(state: ConversationState, user_id: str) -> list[str]:
    if state.kind == "channel" or state.inside_count > MAX_TOLD or state.blocked_by:
        return []
    return [u for u in state.inside() if u != user_id]
