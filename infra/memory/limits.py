"""Shared limits in memory: the twin of `infra/redis_limits.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from infra.clock import Clock
from infra.limits import CREDIT_KEPT_MS, DEMAND_KEPT_MS, MAX_SUSPENDED
from infra.ports import LimitsNotice, Suspension, TenantDemand, TenantLedger

__all__ = ["MemorySharedLimits"]


@dataclass(slots=True)
class _Tenant:
    at_ms: int
    credit: float = 0.0
    spoke: dict[str, tuple[int, str, TenantDemand]] = field(default_factory=dict)


class MemorySharedLimits:
    """`ports.SharedLimits` for the gateways of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lives = 0
        self.flush()

    def flush(self) -> None:
        """Lose everything, as a Redis that was flushed or restarted does."""
        self._lives += 1
        self._changes = 0
        self._suspended: dict[str, Suspension] = {}
        self._quotas: dict[str, float] = {}
        self._tenants: dict[str, _Tenant] = {}

    async def startup(self) -> None:
        """Nothing to open."""

    async def shutdown(self) -> None:
        """Nothing to close."""

    async def suspend(self, subjects: Mapping[str, tuple[int, str]]) -> None:
        now_ms = self._clock.now_ms()
        for subject, (for_ms, reason) in subjects.items():
            held = self._suspended.get(subject)
            if held is None and not self._has_room(now_ms):
                continue
            if held is None or held.until_ms <= now_ms:
                held = Suspension(now_ms, 0, reason)
            if held.until_ms < now_ms + for_ms:
                self._suspended[subject] = Suspension(held.since_ms, now_ms + for_ms, held.reason)
                self._changes += 1

    def _has_room(self, now_ms: int) -> bool:
        if len(self._suspended) >= MAX_SUSPENDED:
            self._suspended = {name: one for name, one in self._suspended.items() if one.until_ms > now_ms}
        return len(self._suspended) < MAX_SUSPENDED

    async def lift(self, subject: str) -> bool:
        held = self._suspended.pop(subject, None)
        self._changes += held is not None
        return held is not None and held.until_ms > self._clock.now_ms()

    async def set_quota(self, tenant: str, per_s: float | None) -> None:
        if per_s is None:
            self._quotas.pop(tenant, None)
        else:
            self._quotas[tenant] = per_s
        self._changes += 1

    async def notice(self, version: str = "") -> LimitsNotice:
        now_ms, born = self._clock.now_ms(), str(self._lives)
        held = f"{born}.{self._changes}"
        if held == version:
            return LimitsNotice(now_ms, born, held, None, None)
        live = {name: one for name, one in self._suspended.items() if one.until_ms > now_ms}
        return LimitsNotice(now_ms, born, held, live, dict(self._quotas))

    async def balance(
        self, gateway_id: str, boot_id: str, demands: Mapping[str, TenantDemand]
    ) -> dict[str, TenantLedger]:
        now_ms = self._clock.now_ms()
        return {
            name: self._balance(self._tenants.setdefault(name, _Tenant(now_ms)), gateway_id, boot_id, demand)
            for name, demand in demands.items()
        }

    def _balance(self, tenant: _Tenant, gateway_id: str, boot_id: str, demand: TenantDemand) -> TenantLedger:
        now_ms, quota = self._clock.now_ms(), demand.quota_per_s
        earned = tenant.credit + quota * (now_ms - tenant.at_ms) / 1000
        _, boot, before = tenant.spoke.get(gateway_id, (0, boot_id, demand))
        used = demand.used_total - (before.used_total if boot == boot_id else 0)
        tenant.credit = min(quota * CREDIT_KEPT_MS / 1000, earned) - used
        tenant.at_ms = now_ms
        tenant.spoke[gateway_id] = (now_ms, boot_id, demand)
        tenant.spoke = {
            name: said for name, said in tenant.spoke.items() if now_ms - said[0] <= DEMAND_KEPT_MS
        }
        return TenantLedger(tenant.credit, {name: d.wanted_per_s for name, (_, _, d) in tenant.spoke.items()})
