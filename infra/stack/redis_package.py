"""Finds redis-server, or installs it where that can be done without asking."""

from __future__ import annotations

import os
import shutil
from typing import Final

from infra.settings import Settings
from infra.stack.process import run_to_end
from infra.stack.progress import Steps
from schemas.errors import SettingsError

__all__ = ["ensure_redis_server"]

APT_TIMEOUT_S: Final = 300.0
APT_SCRIPT: Final = (
    # Run level 1 keeps the package from starting a server of its own.
    "export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; "
    "apt-get install -y --no-install-recommends redis-server || "
    "(apt-get update && apt-get install -y --no-install-recommends redis-server)"
)


async def ensure_redis_server(settings: Settings, steps: Steps) -> str:
    """The path of redis-server, installed by apt-get first if it is missing and we are root.

    Raises `SettingsError` that says what to run otherwise, `Unavailable` when the installation fails.
    """
    found = shutil.which("redis-server")
    if found is not None:
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SettingsError("redis-server not found → sudo apt-get install redis-server")
    log = settings.data_dir.absolute() / "log" / "apt-redis.log"
    with steps.step("installing redis-server", "apt-get"):
        await run_to_end("apt-get install redis-server", ("sh", "-c", APT_SCRIPT), log, APT_TIMEOUT_S)
    found = shutil.which("redis-server")
    if found is None:
        raise SettingsError(f"redis-server is still not found after its installation; see {log}")
    return found
