"""What a member may ask about a conversation: its name, its members; and whether he wants its noise."""

from __future__ import annotations

from typing import Any, Final

from gateway.requests import check_conversation
from gateway.rights import conversation_state, require_member, require_reader
from infra.clock import Clock
from infra.ports import HistoryStore
from schemas.codes import Code
from schemas.conversation import ConversationState
from schemas.errors import Refused
from schemas.frames import ConversationMute, GroupInfo, GroupMembers, Ok

__all__ = ["MAX_LISTED_MEMBERS", "Directory"]

MAX_LISTED_MEMBERS: Final = 2_000
"""The longest list that fits a frame; `member_count` says how many there are."""


class Directory:
    """Answers `group.info`, `group.members` and `conversation.mute` from the history."""

    def __init__(self, history: HistoryStore, clock: Clock) -> None:
        self._history = history
        self._clock = clock

    async def info(self, user_id: str, ask: GroupInfo) -> Ok:
        state = await self._group(user_id, ask.conversation_id)
        return Ok(
            re=ask.id,
            conversation_id=ask.conversation_id,
            name=state.name,
            member_count=state.inside_count,
        )

    async def members(self, user_id: str, ask: GroupMembers) -> Ok:
        state = await self._group(user_id, ask.conversation_id)
        listed: list[dict[str, Any]] = [
            {"user_id": user, "role": state.members[user].role}
            for user in state.inside()[:MAX_LISTED_MEMBERS]
        ]
        return Ok(
            re=ask.id,
            conversation_id=ask.conversation_id,
            members=listed,
            member_count=state.inside_count,
        )

    async def mute(self, user_id: str, ask: ConversationMute) -> Ok:
        check_conversation(ask.conversation_id, user_id)
        require_reader(await conversation_state(self._history, ask.conversation_id), user_id)
        await self._history.mute(user_id, ask.conversation_id, ask.muted, self._clock.now_ms())
        return Ok(re=ask.id, conversation_id=ask.conversation_id, muted=ask.muted)

    async def _group(self, user_id: str, conversation_id: str) -> ConversationState:
        if check_conversation(conversation_id, user_id) == "direct":
            raise Refused(Code.BAD_FRAME, "this request is for groups and channels")
        state = await conversation_state(self._history, conversation_id)
        require_member(state, user_id)
        return state
