"""Where the log lines of the simulated processes go: into the trace of their seed, or nowhere."""

from __future__ import annotations

from typing import Any, NoReturn

import structlog

from tests.sim.loop import PROCESS

__all__ = ["quiet_logs", "trace_logs"]


def quiet_logs() -> None:
    """Log nothing. For a process of the simulation's own: loggers that were used stay as they are."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger("critical"),
        processors=[_drop],
        cache_logger_on_first_use=True,
    )


def trace_logs() -> None:
    """Put every log line into the trace, under the name of its process."""
    structlog.configure(processors=[_tell], cache_logger_on_first_use=True)


def _drop(_: Any, __: str, ___: Any) -> NoReturn:
    raise structlog.DropEvent


def _tell(_: Any, level: str, event: Any) -> NoReturn:
    process = PROCESS.get()
    if process is not None:
        fields = " ".join(f"{name}={value}" for name, value in event.items() if name != "event")
        process.tell(f"{process.name} {level} {event['event']} {fields}")
    raise structlog.DropEvent
