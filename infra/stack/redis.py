"""Redis as a child process: memory only, since all it holds can be rebuilt."""

from __future__ import annotations

from infra.settings import Settings
from infra.stack.addresses import local_addresses
from infra.stack.engine import Engine, render
from infra.stack.probes import redis_probe
from infra.stack.process import ChildSpec

__all__ = ["redis_engine"]


def redis_engine(settings: Settings, redis_server: str) -> Engine:
    """How to run Redis for these settings."""
    address = local_addresses(settings)["IM_REDIS"]
    home = settings.data_dir.absolute() / "redis"
    config = home / "redis.conf"
    return Engine(
        label="Redis 7",
        address=address,
        child=ChildSpec(
            name="redis",
            argv=(redis_server, str(config)),
            log=settings.data_dir.absolute() / "log" / "redis.log",
            ready=redis_probe(address),
            start_timeout_s=15.0,
            stop_timeout_s=10.0,
        ),
        files={config: render("redis/redis.conf", port=address.port, data_dir=home)},
        folders=(home,),
    )
