"""A process says where its probes are, for as long as it lives."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import structlog

from infra.ports import Announced, RouteTable
from schemas.errors import Unavailable

__all__ = ["keep_announced", "reachable_address"]

log = structlog.get_logger(__name__)

_INTERVAL_S: Final = 2.0
_BELIEVED_S: Final = 10.0
_WILDCARDS: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - recognised, not bound


def reachable_address(host: str, port: int) -> str:
    """Where others reach what listens on this host and port."""
    return f"{socket.gethostname() if host in _WILDCARDS else host}:{port}"


async def keep_announced(routes: RouteTable, process: Announced) -> None:
    """Announce every two seconds until cancelled. Nothing else depends on it: a failure is only logged."""
    while True:
        try:
            await routes.announce(process, _BELIEVED_S)
        except Unavailable as error:
            log.warning("not announced", process=process.name, error=str(error))
        await asyncio.sleep(_INTERVAL_S)
