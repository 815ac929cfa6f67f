"""Every kind of fault by name, and which of them this machine can inject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

from schemas.errors import BadInput
from tests.faults.arena import GATEWAYS, WORKER_NAMES, Arena
from tests.faults.nemesis.clients import greedy_clients, stuck_clients
from tests.faults.nemesis.clock import clock_jump
from tests.faults.nemesis.fault import Fault, Make
from tests.faults.nemesis.groups import rebalance_storm
from tests.faults.nemesis.links import away, bad_weather, clients_cut
from tests.faults.nemesis.processes import kill, kill_engine, pause, restart
from tests.faults.nemesis.records import odd_schema, poison, truncated_outbound
from tests.faults.nemesis.starving import starve
from tests.faults.nemesis.stores import disk_full, flush_redis
from tests.faults.schedule import Turn
from tests.faults.weather import Weather

__all__ = ["FAULTS", "chosen", "make_fault", "missing"]

PROCESSES: Final = (*GATEWAYS, *WORKER_NAMES)


def _one_way(random: Random) -> Weather:
    up = random.random() < 0.5
    return Weather(hold_up=up, hold_down=not up)


def _slow(random: Random) -> Weather:
    return Weather(delay_s=random.uniform(0.02, 0.2), jitter_s=random.uniform(0.0, 0.2))


FAULTS: Final[Mapping[str, Make]] = {
    # Processes of ours
    "kill-gateway": kill(GATEWAYS),
    "kill-worker": kill(WORKER_NAMES),
    "drain-gateway": restart(GATEWAYS),
    "stop-worker": restart(WORKER_NAMES),
    "rolling-restart": restart(PROCESSES, rolling=True),
    "pause-gateway": pause(GATEWAYS, 1.0, 10.0),
    "pause-worker": pause(WORKER_NAMES, 1.0, 4.0),
    "zombie-worker": pause(WORKER_NAMES, 8.0, 12.0),
    "starve-gateway": starve(GATEWAYS, 4.0, 10.0),
    "starve-worker": starve(WORKER_NAMES, 4.0, 10.0),
    "rebalance-storm": rebalance_storm,
    # Engines
    "kill-kafka": kill_engine("kafka"),
    "pause-kafka": pause(["kafka"], 2.0, 12.0),
    "kill-redis": kill_engine("redis"),
    "pause-redis": pause(["redis"], 2.0, 8.0),
    "away-redis": away("redis", 60.0),
    "flush-redis": flush_redis,
    "kill-cassandra": kill_engine("cassandra"),
    "pause-cassandra": pause(["cassandra"], 2.0, 15.0),
    "away-cassandra": pause(["cassandra"], 60.0, 60.0),
    "disk-full": disk_full,
    # Network, clocks
    "cut-link": bad_weather(PROCESSES, lambda _: Weather(cut=True), 2.0, 10.0),
    "hold-link": bad_weather(PROCESSES, lambda _: Weather(hold_up=True, hold_down=True), 2.0, 10.0),
    "one-way-link": bad_weather(PROCESSES, _one_way, 2.0, 10.0),
    "slow-link": bad_weather(PROCESSES, _slow, 3.0, 10.0),
    "drip-link": bad_weather(PROCESSES, lambda _: Weather(bytes_per_s=4_000), 3.0, 10.0),
    "clock-jump": clock_jump(PROCESSES, (3_600, -3_600, -30)),
    # Records
    "poison": poison,
    "odd-schema": odd_schema,
    "truncate-outbound": truncated_outbound,
    # Clients
    "stuck-clients": stuck_clients,
    "greedy-clients": greedy_clients,
    "reconnect-storm": clients_cut,
}


def missing(arena: Arena) -> Mapping[str, str]:
    """The kinds this machine cannot inject, each with the reason."""
    reasons = {}
    if not arena.disk.available:
        reasons["disk-full"] = "only root may mount a file system of its own"
    return reasons


def chosen(names: Sequence[str]) -> list[str]:
    """The kinds of these names, all for none. Raises `BadInput` for a name that is none."""
    for name in names:
        if name not in FAULTS:
            raise BadInput(f"there is no fault {name!r}; the faults are {', '.join(FAULTS)}")
    return list(dict.fromkeys(names)) or list(FAULTS)


def make_fault(arena: Arena, turn: Turn) -> Fault:
    """The fault of a turn: its target and strength follow from the turn's seed."""
    return FAULTS[turn.kind](arena, Random(turn.seed))
