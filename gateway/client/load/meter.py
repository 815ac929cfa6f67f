"""What the measured processes cost: processor time and memory, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil

__all__ = ["Cost", "Meter", "find_stack", "memory_bytes", "process_name"]

_ENGINES = {"kafka.Kafka": "kafka", "CassandraDaemon": "cassandra", "redis-server": "redis"}
_ROLES = ("gateway", "worker")
_KNOWN = frozenset((*_ENGINES.values(), *_ROLES))


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor seconds of the processes of one name."""

    name: str
    cpu_s: float

    def us_a_message(self, messages: int) -> float:
        return self.cpu_s * 1e6 / messages if messages else 0.0


class Meter:
    """Reads the processor time of processes at two moments."""

    def __init__(self, pids: Sequence[int], generator_pids: Sequence[int]) -> None:
        self._names = {pid: process_name(pid) for pid in pids} | dict.fromkeys(generator_pids, "generator")
        self._began: dict[int, float] = {}

    def begin(self) -> None:
        self._began = {pid: _cpu_s(pid) for pid in self._names}

    def end(self) -> list[Cost]:
        """What each name cost since `begin`, the generator last. A process that ended is left out."""
        costs: dict[str, float] = {}
        for pid, name in self._names.items():
            costs[name] = costs.get(name, 0.0) + max(0.0, _cpu_s(pid) - self._began[pid])
        return sorted((Cost(n, s) for n, s in costs.items()), key=lambda c: (c.name == "generator", -c.cpu_s))


def find_stack(port: int) -> list[int]:
    """The processes of the local system: who listens on `port`, and all that its parent started.

    Empty when the listener cannot be seen, as on another machine.
    """
    for connection in psutil.net_connections("tcp"):
        here = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        if here and connection.pid:
            gateway = psutil.Process(connection.pid)
            parent = gateway.parent()
            family = parent.children(recursive=True) if parent is not None and parent.pid != 1 else []
            named = [p.pid for p in family if process_name(p.pid).split()[0] in _KNOWN]
            return sorted({gateway.pid, *named})
    return []


def memory_bytes(pid: int) -> int:
    """What a process holds alone: its proportional share of memory (PSS), without what others share."""
    info = psutil.Process(pid).memory_full_info()
    return int(getattr(info, "pss", 0) or info.uss)


def process_name(pid: int) -> str:
    """What a process is, from its command line: kafka, cassandra, redis, gateway, `worker fanout …`."""
    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:
        return "ended"
    line = " ".join(words)
    for word, name in _ENGINES.items():
        if word in line:
            return name
    for role in _ROLES:
        if role in words:
            return " ".join([role, *words[words.index(role) + 1 :]])
    return words[0].rsplit("/", 1)[-1] if words else "unknown"


def _cpu_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
