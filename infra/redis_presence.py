"""Who is there, in Redis: when users were last seen, and which gateways want to hear of them."""

from __future__ import annotations

from collections.abc import Sequence

from infra import redis_scripts as scripts
from infra.redis_calls import RedisCalls
from infra.redis_leases import RedisLeases
from infra.redis_scripts import run
from infra.routes import by_shard
from schemas.keys import seen_key, watchers_key

__all__ = ["RedisPresence"]


class RedisPresence:
    """The part of `ports.RouteTable` that presence needs."""

    def __init__(self, redis: RedisCalls, leases: RedisLeases) -> None:
        self._redis = redis
        self._leases = leases

    async def watch(self, user_ids: Sequence[str], gateway_id: str) -> None:
        await self._redis.call(
            run(scripts.WATCH, map(watchers_key, group), [gateway_id]) for group in by_shard(user_ids)
        )

    async def note_seen(self, user_ids: Sequence[str], at_ms: int) -> dict[str, tuple[str, ...]]:
        groups = list(by_shard(user_ids))
        answers = await self._redis.call(
            run(
                scripts.NOTE_SEEN,
                [key for user_id in group for key in (seen_key(user_id), watchers_key(user_id))],
                [at_ms],
            )
            for group in groups
        )
        watched = {
            user_id: gateway_ids
            for group, answer in zip(groups, answers, strict=True)
            for user_id, gateway_ids in zip(group, answer, strict=True)
            if gateway_ids
        }
        live = await self._leases.judge(
            lambda live: {user_id: live.among(gateway_ids) for user_id, gateway_ids in watched.items()}
        )
        return {user_id: gateway_ids for user_id, gateway_ids in live.items() if gateway_ids}

    async def last_seen(self, user_ids: Sequence[str]) -> dict[str, int]:
        groups = list(by_shard(user_ids))
        answers = await self._redis.call(("MGET", *map(seen_key, group)) for group in groups)
        return {
            user_id: int(at_ms)
            for group, answer in zip(groups, answers, strict=True)
            for user_id, at_ms in zip(group, answer, strict=True)
            if at_ms is not None
        }
