"""The path behind a gateway, with the rules of moderation about who may do what."""

from __future__ import annotations

from infra.ports import Record
from pipeline.moderation.request import Request, read_request
from pipeline.moderation.rights import Target, refusal
from schemas.codec import INBOUND
from schemas.conversation import ConversationState
from schemas.errors import Refused
from tests.gateway.path import Path

__all__ = ["JudgedPath"]


class JudgedPath(Path):
    """Accepts what the rules accept, with the state after everything before it, as the stage does."""

    async def handle(self, record: Record) -> None:
        inbound = INBOUND.decode(record.value)
        conversation_id = inbound.conversation_id
        request = read_request(record)
        state = self.states.setdefault(conversation_id, ConversationState.new(conversation_id))
        code = refusal(state, request, await self._target(request))
        if code is None:
            await self.sequence(inbound)
        else:
            await self.reject(inbound, Refused(code))

    async def _target(self, request: Request) -> Target:
        if request.target_seq is None:
            return "missing"
        conversation_id, seq = request.inbound.conversation_id, request.target_seq
        rows = await self.history.page(conversation_id, before_seq=seq + 1, limit=1)
        return rows[0] if rows and rows[0].seq == seq else "missing"
