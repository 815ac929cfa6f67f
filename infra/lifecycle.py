"""A process: four verbs, three signals, one way to end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import structlog
import uvloop

from infra.telemetry.sparing import Sparing

__all__ = ["HAND_OVER", "STANDBY", "Service", "configure_logging", "released", "run_service"]

log = structlog.get_logger(__name__)

STANDBY: Final = "SKEIN_STANDBY"
"""`on` in the environment of a process that is to wait, ready to begin, until its supervisor needs it."""
HAND_OVER: Final = signal.SIGUSR1
"""Ends a process as SIGTERM does, and tells it that one of its name is loaded and takes its place at once."""


class Service(Protocol):
    """`startup` opens, `serve` works until told to stop, `drain` finishes, `shutdown` closes.

    `replaced`: who ends is followed at once by a process of the same name.
    """

    async def startup(self) -> None: ...

    async def serve(self, stop: asyncio.Event) -> None: ...

    async def drain(self, *, replaced: bool) -> None: ...

    async def shutdown(self) -> None: ...


def run_service(make: Callable[[], Service], log_level: str) -> None:
    """Run a service under uvloop until SIGTERM, SIGINT or `HAND_OVER`, then drain it; `make` is called inside
    the loop.

    Who has drained and shut down does not return: his successor waits for the end of the process, and Python
    would first take apart, object by object, what the kernel frees at once (50 ms for a worker).
    """
    configure_logging(log_level)
    uvloop.run(_run(make))
    logging.shutdown()
    os._exit(0)


async def _run(make: Callable[[], Service]) -> None:
    stop, handing_over = asyncio.Event(), asyncio.Event()

    def hand_over() -> None:
        handing_over.set()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(HAND_OVER, hand_over)
    service = make()
    _calm_collector()
    try:
        await service.startup()
        await service.serve(stop)
        await service.drain(replaced=handing_over.is_set())
    finally:
        await service.shutdown()


def _calm_collector() -> None:
    """Look for reference cycles seldom, and never again through what is loaded.

    Records are freed by their counts; with the usual thresholds a worker that remembers a dedupe window, or a
    gateway of 10,000 sessions, spends its time walking through them. Before startup: the walk takes 70 ms,
    and who has started takes over from another at once.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


async def released() -> None:
    """Return at once; in a standby, when its supervisor releases it. A service calls it in `startup`, after
    all that hurts nobody (opening doors) and before anything that another process may notice.

    The gate is standard input, a socket: a standby says there that it is loaded, and is told to begin.
    A standby whose supervisor has no more use for it ends here.
    """
    if os.environ.get(STANDBY) != "on":
        return
    told = asyncio.Event()
    loop, gate = asyncio.get_running_loop(), sys.stdin.fileno()
    with suppress(BrokenPipeError):  # nobody listens any more: the end of the gate is read below
        os.write(gate, b"here\n")
    loop.add_reader(gate, told.set)
    await told.wait()
    loop.remove_reader(gate)
    if not os.read(gate, 8):
        sys.exit()


def configure_logging(level: str) -> None:
    """JSON lines on standard error, ours and the libraries' alike; libraries from warnings on, and what they
    say again and again only now and then."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.addFilter(Sparing())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    # The driver warns of a server's advice on every statement and of each reconnect; ours say what matters.
    logging.getLogger("cassandra").setLevel(logging.ERROR)
    for ours in ("gateway", "pipeline", "infra"):
        logging.getLogger(ours).setLevel(number)
