"""HTTP for the service itself: what only a token of the role `server` may ask."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from gateway.answers import refused_frame
from gateway.auth import Principal
from gateway.http_answers import converted, fields_of, fields_with_key, json_answer
from gateway.http_call import HttpCalls
from gateway.kicks import Kicks
from gateway.requests import Announcement
from gateway.watching import Watching
from infra.audit import audited
from infra.clock import Clock
from infra.ports import Bus
from schemas.codes import Code
from schemas.errors import Refused
from schemas.frames import Accepted, ClientMsgId, ConversationId, Name, Names, Rejected, Sent
from schemas.ids import direct_conversation, is_name

__all__ = ["ServiceApi"]


class _Kick(msgspec.Struct, frozen=True, kw_only=True):
    """Body of a kick."""

    device_id: Name | None = None
    revoke: bool = False


class _Broadcast(msgspec.Struct, frozen=True, kw_only=True):
    """Body of a broadcast: to everybody in one conversation, or to each of these users directly."""

    content: dict[str, Any]
    client_msg_id: ClientMsgId
    conversation_id: ConversationId | None = None
    user_ids: Names = []

    def conversations(self, sender: str) -> list[str]:
        """Where it goes. Raises `Refused` unless exactly one kind of target is named."""
        if (self.conversation_id is None) == (not self.user_ids):
            raise Refused(Code.BAD_FRAME, "a broadcast needs a conversation_id, or user_ids")
        if self.conversation_id is not None:
            return [self.conversation_id]
        return [direct_conversation(sender, user_id) for user_id in dict.fromkeys(self.user_ids)]


class ServiceApi:
    """The routes. Whatever changes something is in im.audit before it is done, and again with its outcome."""

    def __init__(
        self,
        principal_of: Callable[[web.Request], Awaitable[Principal]],
        calls: HttpCalls,
        kicks: Kicks,
        watching: Watching,
        bus: Bus,
        clock: Clock,
    ) -> None:
        self._principal_of = principal_of
        self._calls = calls
        self._watching = watching
        self._kicks = kicks
        self._bus = bus
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/broadcast", self._broadcast),
            web.post("/v1/users/{user_id}/kick", self._kick),
            web.get("/v1/users/{user_id}/presence", self._presence),
        ]

    async def _broadcast(self, request: web.Request) -> web.Response:
        """Each target is one message on the ordinary path, accounted for like any other."""
        principal = await self._server(request)
        ask = converted(await fields_with_key(request), _Broadcast)
        targets = ask.conversations(principal.user_id)
        details = {"client_msg_id": ask.client_msg_id, "targets": len(targets)}
        target = ask.conversation_id or "users"
        async with audited(
            self._bus, self._clock, principal.user_id, "message.broadcast", target, details
        ) as outcome:
            ends = await asyncio.gather(*(self._announce(principal, ask, name) for name in targets))
            outcome.update(Counter(str(end.__struct_config__.tag) for end in ends))
        ended = all(not isinstance(end, Accepted) for end in ends)
        return json_answer({"type": "ok", "results": ends}, 200 if ended else 202)

    async def _announce(
        self, principal: Principal, ask: _Broadcast, conversation_id: str
    ) -> Sent | Rejected | Accepted:
        said = Announcement(
            conversation_id=conversation_id, client_msg_id=ask.client_msg_id, content=ask.content
        )
        try:
            return await self._calls.submit(principal, "", said)
        except Refused as refused:
            return refused_frame(ask.client_msg_id, conversation_id, refused)

    async def _presence(self, request: web.Request) -> web.Response:
        await self._server(request)
        return json_answer(await self._watching.look(_user(request)), 200)

    async def _kick(self, request: web.Request) -> web.Response:
        principal, user_id = await self._server(request), _user(request)
        ask = converted(await fields_of(request) if request.can_read_body else {}, _Kick)
        if ask.revoke and ask.device_id is not None:
            raise Refused(Code.BAD_FRAME, "a token is not bound to a device: revoke without device_id")
        details = {"device_id": ask.device_id, "revoke": ask.revoke}
        async with audited(
            self._bus, self._clock, principal.user_id, "user.kick", user_id, details
        ) as outcome:
            by = principal.user_id if ask.revoke else ""
            devices = await self._kicks.kick(user_id, ask.device_id or "", by)
            outcome["devices"] = devices
        return json_answer({"type": "ok", "user_id": user_id, "devices": devices}, 200)

    async def _server(self, request: web.Request) -> Principal:
        """Who asks. Raises `Refused` for anybody but the service."""
        principal = await self._principal_of(request)
        if not principal.is_server:
            raise Refused(Code.NOT_ALLOWED, "only a token of the role server may ask this")
        return principal


def _user(request: web.Request) -> str:
    user_id = request.match_info["user_id"]
    if not is_name(user_id):
        raise Refused(Code.BAD_FRAME, "the name of a user is 1–64 of A–Z a–z 0–9 . _ -")
    return user_id
