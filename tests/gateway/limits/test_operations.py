"""What operators do about limits."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from gateway.limits.operations import (
    Operations,
    read_quota,
    read_suspended,
    subject_of,
    suspension_ms,
)
from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.limits import MemorySharedLimits
from infra.settings import Settings
from schemas.codec import AUDIT
from schemas.errors import BadInput
from schemas.topics import AUDIT as AUDIT_TOPIC


class Desk:
    """An operator's, over memory twins."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bus = MemoryBus(1, self.clock)
        self.shared = MemorySharedLimits(self.clock)
        self.operations = Operations(self.shared, self.bus, self.clock, "olga")


async def test_a_suspension_is_listed_and_lifted_and_all_of_it_is_on_the_audit_log() -> None:
    """Who did what to whom, before and after."""
    desk = Desk()
    operations = desk.operations
    await operations.suspend("user:eve", 600_000)
    desk.clock.advance(10.0)
    (row,) = await read_suspended(desk.shared)
    assert (row.subject, row.reason, row.left_s) == ("user:eve", "operator", 590)
    assert await operations.lift("user:eve")
    assert not await operations.lift("user:eve")
    assert await read_suspended(desk.shared) == []
    said = [AUDIT.decode(record.value) for record in desk.bus.records(AUDIT_TOPIC)]
    assert [(one.actor, one.action, one.target, one.state) for one in said] == [
        ("olga", action, "user:eve", state)
        for action in ("limits.suspend", "limits.lift", "limits.lift")
        for state in ("begun", "done")
    ]


async def test_a_quota_says_where_it_comes_from() -> None:
    """The operator's, the tenant's own setting, or the one for all."""
    desk = Desk()
    settings = Settings(auth_secret=SecretStr("x" * 40), tenant_quota_per_s=7, tenant_quotas="acme=500")
    await desk.operations.set_quota("acme", 12.5)
    found = [await read_quota(desk.shared, settings, tenant) for tenant in ("acme", "other")]
    assert [(row.per_s, row.said_by) for row in found] == [
        (12.5, "im limits quota set"),
        (7.0, "IM_TENANT_QUOTA_PER_S"),
    ]
    await desk.operations.set_quota("acme", None)
    row = await read_quota(desk.shared, settings, "acme")
    assert (row.per_s, row.said_by) == (500.0, "IM_TENANT_QUOTAS")
    with pytest.raises(BadInput):
        await desk.operations.set_quota("acme", 0.0)


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("alice", "user:alice"),
        ("user:alice", "user:alice"),
        ("user:1.2.3.4", "user:1.2.3.4"),
        ("1.2.3.4", "ip:1.2.3.4"),
        ("ip:1.2.3.4", "ip:1.2.3.4"),
        ("2001:db8::7", "ip:2001:db8::/64"),
        ("ip:[2001:db8::7]", "ip:2001:db8::/64"),
    ],
)
def test_a_subject_is_a_user_or_an_ip(text: str, subject: str) -> None:
    """As gateways name them."""
    assert subject_of(text) == subject


@pytest.mark.parametrize("text", ["", "ip:alice", "user:", "a b", "x" * 65])
def test_nonsense_is_no_subject(text: str) -> None:
    """And is said so."""
    with pytest.raises(BadInput):
        subject_of(text)


def test_a_span_has_a_unit_and_a_bound() -> None:
    """Seconds to days, a year at most."""
    assert [suspension_ms(text) for text in ("90s", "10m", "2h", "7d")] == [
        90_000,
        600_000,
        7_200_000,
        604_800_000,
    ]
    for text in ("", "m", "-1m", "0s", "1.5h", "400d", "10y"):
        with pytest.raises(BadInput):
            suspension_ms(text)
