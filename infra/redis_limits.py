"""Suspensions and quotas in Redis: one call each, for all gateways alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from infra import redis_limit_scripts as scripts
from infra.ports import LimitsNotice, Suspension, TenantDemand, TenantLedger
from infra.redis_calls import RedisCalls
from infra.redis_scripts import run
from infra.settings import Settings
from schemas.keys import LIMITS_VERSION_KEY, QUOTAS_KEY, SUSPENDED_KEY, demand_key

__all__ = ["RedisSharedLimits"]


class RedisSharedLimits:
    """`ports.SharedLimits` over one Redis, or a Redis Cluster. Times are Redis's own."""

    def __init__(self, settings: Settings) -> None:
        self._redis = RedisCalls(settings)

    async def startup(self) -> None:
        """Nothing is opened before it is needed: a gateway starts without limits that are shared."""

    async def shutdown(self) -> None:
        """Close every connection."""
        await self._redis.close()

    async def suspend(self, subjects: Mapping[str, tuple[int, str]]) -> None:
        if subjects:
            arguments = [text for name, (ms, reason) in subjects.items() for text in (name, ms, reason)]
            await self._redis.call([run(scripts.SUSPEND, [LIMITS_VERSION_KEY, SUSPENDED_KEY], arguments)])

    async def lift(self, subject: str) -> bool:
        (held,) = await self._redis.call([run(scripts.LIFT, [LIMITS_VERSION_KEY, SUSPENDED_KEY], [subject])])
        return bool(held)

    async def set_quota(self, tenant: str, per_s: float | None) -> None:
        value = "" if per_s is None else str(per_s)
        await self._redis.call([run(scripts.SET_QUOTA, [LIMITS_VERSION_KEY, QUOTAS_KEY], [tenant, value])])

    async def notice(self, version: str = "") -> LimitsNotice:
        keys = [LIMITS_VERSION_KEY, SUSPENDED_KEY, QUOTAS_KEY]
        ((now_ms, held, *lists),) = await self._redis.call([run(scripts.NOTICE, keys, [version])])
        born = held.partition(".")[0]
        if not lists:
            return LimitsNotice(now_ms, born, held, None, None)
        suspended = {name: _suspension(text) for name, text in _pairs(lists[0])}
        quotas = {tenant: float(per_s) for tenant, per_s in _pairs(lists[1])}
        live = {name: one for name, one in suspended.items() if one.until_ms > now_ms}
        return LimitsNotice(now_ms, born, held, live, quotas)

    async def balance(
        self, gateway_id: str, boot_id: str, demands: Mapping[str, TenantDemand]
    ) -> dict[str, TenantLedger]:
        if not demands:
            return {}
        arguments: list[str | int] = [gateway_id, boot_id]
        for demand in demands.values():
            wanted = ",".join(f"{per_s:.3f}" for per_s in demand.wanted_per_s)
            arguments += (str(demand.quota_per_s), demand.used_total, wanted)
        (answers,) = await self._redis.call([run(scripts.BALANCE, map(demand_key, demands), arguments)])
        return {tenant: _ledger(answer) for tenant, answer in zip(demands, answers, strict=True)}


def _suspension(text: str) -> Suspension:
    since_ms, until_ms, reason = text.split("|", 2)
    return Suspension(int(since_ms), int(until_ms), reason)


def _ledger(answer: Sequence[str]) -> TenantLedger:
    wanted = {
        gateway_id: tuple(map(float, text.split(","))) if text else ()
        for gateway_id, text in _pairs(answer[1:])
    }
    return TenantLedger(float(answer[0]), wanted)


def _pairs(flat: Sequence[str]) -> zip[tuple[str, str]]:
    return zip(flat[::2], flat[1::2], strict=True)
