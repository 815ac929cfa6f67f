"""What operators do about limits: look, lift, suspend, set quotas. Each change is on im.audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.limits.blacklist import BY_OPERATOR
from gateway.limits.client_address import address_of
from infra.audit import audited
from infra.clock import Clock
from infra.durations import parse_duration_ms
from infra.ports import Bus, SharedLimits
from infra.settings import Settings
from schemas.errors import BadInput
from schemas.ids import is_name

__all__ = [
    "Operations",
    "QuotaRow",
    "SuspendedRow",
    "read_quota",
    "read_suspended",
    "subject_of",
    "suspension_ms",
]

LONGEST_MS: Final = 366 * 86_400_000


@dataclass(frozen=True, slots=True)
class SuspendedRow:
    """Who is suspended, why, since when, and for how long yet."""

    subject: str
    reason: str
    since_ms: int
    left_s: int


@dataclass(frozen=True, slots=True)
class QuotaRow:
    """What a tenant may send in a second over all gateways (0: as many as come), and who says so."""

    tenant: str
    per_s: float
    said_by: str


async def read_suspended(shared: SharedLimits) -> list[SuspendedRow]:
    """Everybody who is suspended, the longest first."""
    notice = await shared.notice()
    rows = [
        SuspendedRow(subject, one.reason, one.since_ms, -(-(one.until_ms - notice.now_ms) // 1000))
        for subject, one in (notice.suspended or {}).items()
    ]
    return sorted(rows, key=lambda row: -row.left_s)


async def read_quota(shared: SharedLimits, settings: Settings, tenant: str) -> QuotaRow:
    """What holds for this tenant."""
    told = (await shared.notice()).quotas or {}
    of_tenants = settings.quota_of_tenants
    if tenant in told:
        return QuotaRow(tenant, told[tenant], "im limits quota set")
    if tenant in of_tenants:
        return QuotaRow(tenant, of_tenants[tenant], "IM_TENANT_QUOTAS")
    return QuotaRow(tenant, float(settings.tenant_quota_per_s), "IM_TENANT_QUOTA_PER_S")


class Operations:
    """What changes something: said on im.audit first. Gateways follow within two rounds of 300 ms."""

    def __init__(self, shared: SharedLimits, bus: Bus, clock: Clock, actor: str) -> None:
        self._shared = shared
        self._bus = bus
        self._clock = clock
        self._actor = actor

    async def suspend(self, subject: str, for_ms: int) -> None:
        """From now on; sockets of that user or ip are closed with 4501. An end that is later stays."""
        async with audited(
            self._bus, self._clock, self._actor, "limits.suspend", subject, {"for_ms": for_ms}
        ):
            await self._shared.suspend({subject: (for_ms, BY_OPERATOR)})

    async def lift(self, subject: str) -> bool:
        """End a suspension now. False: there was none."""
        async with audited(self._bus, self._clock, self._actor, "limits.lift", subject, {}) as outcome:
            outcome["was_suspended"] = lifted = await self._shared.lift(subject)
        return lifted

    async def set_quota(self, tenant: str, per_s: float | None) -> None:
        """From now on, whatever settings say; None: as they say."""
        if per_s is not None and per_s <= 0:
            raise BadInput("a quota is more than 0 messages a second; `unset` takes it away")
        async with audited(self._bus, self._clock, self._actor, "limits.quota", tenant, {"per_s": per_s}):
            await self._shared.set_quota(tenant, per_s)


def subject_of(text: str) -> str:
    """`alice`, `user:alice`, `1.2.3.4` or `ip:1.2.3.4` as limits name it. Raises `BadInput`.

    What looks like an ip is one; a user of that name is written with `user:`.
    """
    kind, _, name = text.partition(":")
    if kind == "user" and is_name(name):
        return text
    ip = address_of(name if kind == "ip" else text)
    if ip is not None:
        return f"ip:{ip}"
    if kind != "ip" and is_name(text):
        return f"user:{text}"
    raise BadInput(f"{text!r} is neither a user nor an ip")


def suspension_ms(text: str) -> int:
    """`90s`, `10m`, `2h`, `7d` in milliseconds, more than nothing and at most a year. Raises `BadInput`."""
    for_ms = parse_duration_ms(text)
    if not 0 < for_ms <= LONGEST_MS:
        raise BadInput(f"a suspension lasts for more than nothing and at most a year, not {text}")
    return for_ms
