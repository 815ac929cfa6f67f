"""A tenant's quota, as much of it as this gateway has. Pure.

Every 300 ms each gateway tells what its clients asked (`demands`) and learns what all gateways were
asked (`balance`); all compute the same shares from it. What was taken too much or too little in a
round, because demand had changed, is made up for in the next half second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.limits.priority import PRIORITIES, Priority
from gateway.limits.priority_bucket import PriorityBucket
from gateway.limits.shares import shares
from infra.ports import TenantDemand, TenantLedger

__all__ = ["TenantQuotas"]

CORRECTION_S: Final = 0.5
BURST_S: Final = 0.6
"""Two rounds: what a share may hold while nothing is sent."""
FORGET_S: Final = 10.0


class _Tenant:
    """What this gateway knows of a tenant that sends here."""

    __slots__ = ("asked", "bucket", "seen_at", "told_at", "used_total")

    def __init__(self, share_per_s: float, now: float) -> None:
        self.bucket = PriorityBucket(share_per_s, BURST_S, now)
        self.asked = [0] * PRIORITIES
        self.used_total = 0
        self.seen_at = now
        self.told_at = now


class TenantQuotas:
    """Bounded: only tenants that have a quota and sent within ten seconds are kept.

    A tenant that was not heard of gets an even part at first; while nobody can be asked, every share
    stays as it is.
    """

    def __init__(self, gateway_id: str, per_s: float, of_tenants: Mapping[str, float]) -> None:
        self._gateway_id = gateway_id
        self._per_s = per_s
        self._of_tenants = dict(of_tenants)
        self._set: dict[str, float] = {}
        self._tenants: dict[str, _Tenant] = {}
        self.in_force = bool(per_s or of_tenants)
        """Whether any tenant may have a quota: without one a send is not looked at."""
        self.gateways = 1
        """Among how many a tenant is shared at first."""

    def quota_of(self, tenant: str) -> float | None:
        """Sends a second over all gateways; None: as many as come."""
        set_per_s = self._set.get(tenant)
        if set_per_s is not None:
            return set_per_s
        return self._of_tenants.get(tenant, self._per_s) or None

    def set_quotas(self, quotas: Mapping[str, float]) -> None:
        """What operators set; it goes before the settings."""
        self._set = dict(quotas)
        self.in_force = bool(self._per_s or self._of_tenants or self._set)
        for tenant in [name for name in self._tenants if self.quota_of(name) is None]:
            del self._tenants[tenant]

    def known_quotas(self) -> dict[str, float]:
        """What operators set, as far as it is known here."""
        return self._set

    def wait_ms(self, tenant: str, priority: Priority, now: float) -> int:
        """One is asked for: 0 if it may pass, otherwise when to try again."""
        held = self._tenants.get(tenant)
        if held is None:
            quota = self.quota_of(tenant)
            if quota is None:
                return 0
            held = self._tenants[tenant] = _Tenant(quota / max(1, self.gateways), now)
        held.asked[priority] += 1
        held.seen_at = now
        return held.bucket.wait_ms(priority, now)

    def count(self, tenant: str) -> bool:
        """It passed. Whether it counted against a quota."""
        held = self._tenants.get(tenant)
        if held is None:
            return False
        held.bucket.count()
        held.used_total += 1
        return True

    def demands(self, now: float) -> dict[str, TenantDemand]:
        """What was asked since the last time, as messages a second."""
        for name in [name for name, held in self._tenants.items() if now - held.seen_at > FORGET_S]:
            del self._tenants[name]
        return {name: self._demand(name, held, now) for name, held in self._tenants.items()}

    def balance(self, ledgers: Mapping[str, TenantLedger], now: float) -> None:
        """Take the share that follows from what every gateway asks."""
        for tenant, ledger in ledgers.items():
            held, quota = self._tenants.get(tenant), self.quota_of(tenant)
            if held is None or quota is None:
                continue
            corrected = max(0.0, quota + ledger.credit / CORRECTION_S)
            share = shares(corrected, ledger.wanted_per_s).get(self._gateway_id, 0.0)
            held.bucket.set_rate(share, BURST_S, now)

    @property
    def share_per_s(self) -> float:
        """What all tenants together may send here."""
        return sum(held.bucket.per_s for held in self._tenants.values())

    def _demand(self, tenant: str, held: _Tenant, now: float) -> TenantDemand:
        elapsed_s = max(1e-3, now - held.told_at)
        wanted_per_s = tuple(count / elapsed_s for count in held.asked)
        held.asked = [0] * PRIORITIES
        held.told_at = now
        return TenantDemand(self.quota_of(tenant) or 0.0, held.used_total, wanted_per_s)
