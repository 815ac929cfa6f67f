"""The moderation policy in force: kept in a compacted topic, changed without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from infra.audit import audited
from infra.clock import Clock
from infra.ports import Bus, Outgoing, Record, Subscription
from pipeline.moderation.words import WordFilter
from schemas.codec import POLICY
from schemas.errors import BadInput, Unavailable, Undecodable
from schemas.records import Policy
from schemas.topics import POLICY as POLICY_TOPIC

__all__ = ["NO_POLICY", "PolicyFollower", "publish_policy", "read_policy", "replace_policy"]

log = structlog.get_logger(__name__)

NO_POLICY: Final = Policy(0, [])
"""What is in force until somebody publishes a policy: no words."""
_KEY: Final = b"policy"
_POLL_S: Final = 5.0
_PAUSE_S: Final = 1.0


class PolicyFollower:
    """The word filter of the newest policy. The highest version wins, whatever the order of arrival."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._following: asyncio.Task[None] | None = None
        self.words = WordFilter(NO_POLICY)

    async def startup(self) -> None:
        """Take the policy as it stands, then go on following it until the event loop ends.

        Raises `Unavailable` if the topic cannot be read.
        """
        subscription = await self._bus.subscribe_end(POLICY_TOPIC)
        await self._bus.read_range(POLICY_TOPIC, 0, 0, None, self.take)
        self._following = asyncio.create_task(self._follow(subscription))

    def take(self, records: Sequence[Record]) -> None:
        """Put the newest policy among these records in force, if it is newer than the present one."""
        for record in records:
            try:
                policy = POLICY.decode(record.value)
            except Undecodable as error:
                log.error("policy.undecodable", offset=record.offset, error=str(error))
                continue
            if policy.version > self.words.policy.version:
                self.words = WordFilter(policy)
                log.info("policy.in_force", version=policy.version, rules=len(policy.rules))

    async def _follow(self, subscription: Subscription) -> None:
        try:
            while True:
                try:
                    self.take(await subscription.next_records(_POLL_S))
                except Unavailable as error:
                    log.warning("policy.waits", error=str(error))
                    await asyncio.sleep(_PAUSE_S)
        finally:
            await subscription.close()


async def read_policy(bus: Bus) -> Policy:
    """The policy in force, `NO_POLICY` if none was ever published."""
    newest = PolicyFollower(bus)
    await bus.read_range(POLICY_TOPIC, 0, 0, None, newest.take)
    return newest.words.policy


async def publish_policy(bus: Bus, policy: Policy) -> None:
    """Put a policy in force everywhere, within a second. Raises `BadInput` if it cannot be used."""
    _check(policy)
    await bus.publish([Outgoing(POLICY_TOPIC, 0, POLICY.encode(policy), _KEY)])


async def replace_policy(bus: Bus, clock: Clock, actor: str, policy: Policy) -> None:
    """An operator's change: `publish_policy`, on im.audit before and after.

    Raises `BadInput` as well if its version is not higher than the one in force.
    """
    _check(policy)
    present = await read_policy(bus)
    if policy.version <= present.version:
        raise BadInput(f"version {present.version} is in force: the new one must be higher")
    details = {"replaces": present.version, "rules": [rule.id for rule in policy.rules]}
    async with audited(bus, clock, actor, "policy.set", f"version {policy.version}", details):
        await publish_policy(bus, policy)


def _check(policy: Policy) -> None:
    if policy.version < 1:
        raise BadInput("the version of a policy is a number from 1 on")
    ids = [rule.id for rule in policy.rules]
    if not all(ids) or len(set(ids)) < len(ids):
        raise BadInput("every rule needs an id of its own")
    for rule in policy.rules:
        if not rule.words or not all(word.strip() for word in rule.words):
            raise BadInput(f"rule {rule.id} needs words, none of them blank")
