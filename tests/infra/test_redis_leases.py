"""Leases: when an answer may be trusted, and how old a judgement may be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest

from infra.clock import ManualClock
from infra.redis_leases import RedisLeases
from infra.redis_scripts import RENEW_LEASE, Command
from infra.routes import LiveGateways
from schemas.errors import Unavailable

TTL_S = 6.0


class Leases:
    """As much of Redis as leases need. `losing` answers are lost after the commands took effect."""

    def __init__(self) -> None:
        self.boots: dict[str, str] = {}
        self.known: set[str] = set()
        self.losing = 0
        self.tries: list[int] = []
        self.asked: defaultdict[str, int] = defaultdict(int)

    async def call(self, commands: Iterable[Command], tries: int = 2) -> list[Any]:
        self.tries.append(tries)
        answers = [self._do(command) for command in commands]
        if self.losing:
            self.losing -= 1
            raise Unavailable("lost")
        return answers

    def _do(self, command: Command) -> Any:
        self.asked[str(command[0])] += 1
        match command:
            case ("EVALSHA", RENEW_LEASE.sha, 1, str(key), str(boot_id), _):
                return int(self.boots.get(key) == boot_id)
            case ("SET", str(key), str(boot_id), "PX", _):
                self.boots[key] = boot_id
            case ("EVALSHA", _, 1, str(key), str(boot_id)):
                if self.boots.get(key) == boot_id:
                    del self.boots[key]
                return None
            case ("SADD", _, str(gateway_id)):
                self.known.add(gateway_id)
            case ("SREM", _, *gateway_ids):
                self.known -= set(map(str, gateway_ids))
            case ("SMEMBERS", _):
                return set(self.known)
            case ("GET", str(key)):
                return self.boots.get(key)
        return None


@pytest.fixture
def redis() -> Leases:
    return Leases()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def which_live(live: LiveGateways) -> tuple[str, ...]:
    return live.among(["gw-1"])


async def test_a_loss_is_told_though_an_answer_was_lost(redis: Leases, clock: ManualClock) -> None:
    """A renewal takes nothing, so the next one says again that the lease is gone."""
    leases = RedisLeases(redis, clock)
    await leases.take("gw-1", "boot-1", TTL_S)
    assert await leases.renew("gw-1", "boot-1", TTL_S)
    redis.boots.clear()
    redis.losing = 1
    with pytest.raises(Unavailable):
        await leases.renew("gw-1", "boot-1", TTL_S)
    assert redis.tries == [1, 1, 1]
    assert not await leases.renew("gw-1", "boot-1", TTL_S)
    await leases.take("gw-1", "boot-1", TTL_S)
    assert await leases.renew("gw-1", "boot-1", TTL_S)


async def test_leases_are_read_once_a_second(redis: Leases, clock: ManualClock) -> None:
    """However often they are asked for."""
    leases = RedisLeases(redis, clock)
    await RedisLeases(redis, clock).take("gw-1", "boot-1", TTL_S)
    for _ in range(5):
        assert (await leases.live()).boots == {"gw-1": "boot-1"}
        clock.advance(0.19)
    assert redis.asked["SMEMBERS"] == 1
    clock.advance(0.1)
    redis.boots.clear()
    assert (await leases.live()).boots == {}


async def test_a_failed_read_serves_nothing_old(redis: Leases, clock: ManualClock) -> None:
    """Leases older than a second are not a basis for anything."""
    leases = RedisLeases(redis, clock)
    await leases.live()
    clock.advance(1)
    redis.losing = 1
    with pytest.raises(Unavailable):
        await leases.live()


async def test_a_gateway_that_just_began_is_found_at_once(redis: Leases, clock: ManualClock) -> None:
    """A route that names an unknown lease makes it look again, before the second is over."""
    leases = RedisLeases(redis, clock)
    await leases.live()
    await RedisLeases(redis, clock).take("gw-1", "boot-1", TTL_S)
    assert await leases.judge(which_live) == ("gw-1",)


async def test_a_dead_gateway_is_looked_for_once_a_second(redis: Leases, clock: ManualClock) -> None:
    """What a dead gateway left behind does not cost a look for every batch."""
    leases = RedisLeases(redis, clock)
    for _ in range(5):
        assert await leases.judge(which_live) == ()
    assert redis.asked["SMEMBERS"] == 2


async def test_a_gateway_long_gone_is_forgotten(redis: Leases, clock: ManualClock) -> None:
    """The set of known gateways does not grow for ever; one that comes back is known again."""
    leases = RedisLeases(redis, clock)
    await leases.take("gw-1", "boot-1", TTL_S)
    redis.boots.clear()
    await leases.live()
    clock.advance(599)
    await leases.live()
    assert redis.known == {"gw-1"}
    clock.advance(2)
    await leases.live()
    assert redis.known == set()
    await leases.take("gw-1", "boot-2", TTL_S)
    assert (await leases.live()).boots == {"gw-1": "boot-2"}
