"""How often a broker that is away is asked whether it is back."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, Final

from aiokafka.client import AIOKafkaClient

__all__ = ["PAUSE_S", "reconnect_calmly"]

PAUSE_S: Final = 0.25


def reconnect_calmly(client: AIOKafkaClient, monotonic: Callable[[], float] = time.monotonic) -> None:
    """Have this client of the driver try a broker that is away at most four times a second and purpose.

    Each of the driver's loops (metadata, fetching, coordinator, heartbeat) tries by itself every 100 ms, and
    has no back-off like the Java client's `reconnect.backoff.ms`: a worker of three stages made 250 connections
    a second to a dead broker, which took 25 s to start on the machine it shared with all of them.
    """
    connect: Callable[..., Awaitable[Any]] = client._get_conn
    failed_at: dict[tuple[Any, ...], float] = {}

    async def connect_calmly(*place: Any, **options: Any) -> Any:
        key = (*place, *options.values())
        if monotonic() - failed_at.get(key, -inf) < PAUSE_S:
            return None  # as if it had been tried in vain: whoever asks waits and asks again
        connection = await connect(*place, **options)
        if connection is None:
            failed_at[key] = monotonic()
        else:
            failed_at.pop(key, None)
        return connection

    client._get_conn = connect_calmly
