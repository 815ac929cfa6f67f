"""pipeline/moderation/policy.py"""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.ports import Outgoing
from pipeline.moderation.policy import (
    NO_POLICY,
    PolicyFollower,
    publish_policy,
    read_policy,
    replace_policy,
)
from schemas.codec import AUDIT
from schemas.errors import BadInput
from schemas.records import Audit, Policy, Rule
from schemas.topics import AUDIT as AUDIT_TOPIC


def a_policy(version: int, word: str = "heck") -> Policy:
    return Policy(version, [Rule("r1", "abuse", "mask", [word])])


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(1, ManualClock())


async def until_version(follower: PolicyFollower, version: int) -> None:
    for _ in range(1_000):
        if follower.words.policy.version == version:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"version {version} never came into force")


async def test_without_a_policy_no_word_is_listed(bus: MemoryBus) -> None:
    """Version 0 is in force until somebody publishes one."""
    follower = PolicyFollower(bus)
    await follower.startup()
    assert follower.words.policy == NO_POLICY == await read_policy(bus)


async def test_the_newest_version_is_in_force_at_startup(bus: MemoryBus) -> None:
    """Also if an older one was published later."""
    for version in (1, 3, 2):
        await publish_policy(bus, a_policy(version))
    follower = PolicyFollower(bus)
    await follower.startup()
    assert follower.words.policy.version == 3
    assert (await read_policy(bus)).version == 3


async def test_a_change_takes_effect_without_a_restart(bus: MemoryBus) -> None:
    """The filter is swapped as a whole; an older version changes nothing any more."""
    follower = PolicyFollower(bus)
    await follower.startup()
    await publish_policy(bus, a_policy(2, "darn"))
    await until_version(follower, 2)
    assert follower.words.find("darn")
    await publish_policy(bus, a_policy(1))
    await publish_policy(bus, a_policy(3))
    await until_version(follower, 3)
    assert not follower.words.find("darn")


async def test_a_record_that_is_no_policy_is_passed_over(bus: MemoryBus) -> None:
    """The policy in force stays."""
    await publish_policy(bus, a_policy(1))
    await bus.publish(
        [Outgoing("im.policy", 0, b"junk", b"policy"), Outgoing("im.policy", 0, None, b"policy")]
    )
    assert (await read_policy(bus)).version == 1


@pytest.mark.parametrize(
    "policy",
    [
        a_policy(0),
        a_policy(1, " "),
        Policy(1, [Rule("r", "a", "mask", [])]),
        Policy(1, [Rule("", "a", "mask", ["x"])]),
        Policy(1, [Rule("r", "a", "mask", ["x"]), Rule("r", "b", "mask", ["y"])]),
    ],
)
async def test_a_policy_that_cannot_be_used_is_refused(bus: MemoryBus, policy: Policy) -> None:
    """Before it reaches anybody."""
    with pytest.raises(BadInput):
        await publish_policy(bus, policy)
    assert bus.records("im.policy") == []


async def test_an_operators_change_is_on_the_audit(bus: MemoryBus) -> None:
    """Before and after, with what it replaces; one that is not higher is refused and leaves no trace."""
    await publish_policy(bus, a_policy(1))
    await replace_policy(bus, ManualClock(), "olga", a_policy(2, "darn"))
    assert (await read_policy(bus)).version == 2
    with pytest.raises(BadInput, match="version 2 is in force"):
        await replace_policy(bus, ManualClock(), "olga", a_policy(2))
    said: list[Audit] = []
    await bus.read_range(AUDIT_TOPIC, 0, 0, None, lambda rs: said.extend(AUDIT.decode(r.value) for r in rs))
    assert [(a.state, a.actor, a.action, a.target) for a in said] == [
        ("begun", "olga", "policy.set", "version 2"),
        ("done", "olga", "policy.set", "version 2"),
    ]
    assert msgspec.json.decode(said[0].details) == {"replaces": 1, "rules": ["r1"]}
