"""An event loop without time, threads or I/O, and the processes that live on it.

Time is a number that jumps to the next timer, so a minute takes as long as its callbacks do.
Callbacks run in the order in which asyncio would run them; what differs from seed to seed is how
long everything outside a process takes, and with it who comes first.
"""

from __future__ import annotations

import asyncio
import contextvars
import warnings
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from heapq import heappop, heappush
from typing import Any, Final, TypeVar, cast

from infra.clock import Clock

__all__ = ["EPOCH_MS", "PROCESS", "Call", "Process", "SimClock", "SimLoop"]

T = TypeVar("T")

EPOCH_MS: Final = 1_800_000_000_000
"""The wall clock at the beginning of every seed."""
_EVERYTHING: Final = float("inf")


class Process:
    """What dies, or stops, as a whole: every callback that was made inside it belongs to it.

    A killed process never runs another callback, not even a `finally`. A paused one keeps its
    callbacks, as they come, for the moment it goes on: the zombie that knows of nothing.
    """

    def __init__(self, loop: SimLoop, name: str, tell: Callable[[str], None]) -> None:
        self.name = name
        self.tell = tell
        self.alive = True
        self.paused = False
        self.parked: list[Call] = []
        self.context = contextvars.copy_context()
        self._loop = loop
        self.context.run(PROCESS.set, self)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine inside."""
        task: asyncio.Task[T] = self._loop.create_task(work, context=self.context)
        return task

    def after(self, delay_s: float, callback: Callable[..., object], *args: Any) -> Call:
        """Call something inside, later."""
        return self._loop.call_at(self._loop.now + delay_s, callback, *args, context=self.context)

    def kill(self) -> None:
        self.alive = False
        self.parked.clear()

    def pause(self) -> None:
        self.paused = True

    def go_on(self) -> None:
        """Run what gathered, in its order, and whatever comes."""
        self.paused = False
        parked, self.parked = self.parked, []
        self._loop.put_back(parked)


PROCESS: Final[contextvars.ContextVar[Process | None]] = contextvars.ContextVar("process", default=None)


class Call(asyncio.TimerHandle):
    """A callback that waits for its turn or its time."""

    __slots__ = ()

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context,
        when: float = 0.0,
    ) -> None:
        # The bases' own constructors cost more than the whole rest of a call.
        self._callback: Any = callback
        self._args: Any = args
        self._context: Any = context
        self._cancelled = False
        self._when = when

    def __repr__(self) -> str:
        return f"<Call {self._callback!r}>"

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = self._args = None

    def run(self) -> None:
        self._context.run(self._callback, *self._args)


class SimLoop(asyncio.BaseEventLoop):
    """Runs callbacks in order and lets time pass only when none is left."""

    def __init__(self) -> None:
        # The base's own constructor wants a selector to wake; all it would set up is replaced here.
        self.now = 0.0
        self.calls = 0
        """Callbacks that were run."""
        self._ready: deque[Call] = deque()
        self._timers: list[tuple[float, int, Call]] = []
        self._order = 0
        self._closed = False
        self._tasks: list[asyncio.Task[Any]] = []
        """Held, so that no coroutine of a killed process is collected, and runs a `finally`, in between."""

    # What asyncio asks of a loop

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._closed

    def is_closed(self) -> bool:
        return self._closed

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> Any:  # type: ignore[override]
        if self._closed:
            coro.close()
            return self.create_future()
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        return task

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Call:  # type: ignore[override]
        call = Call(callback, args, contextvars.copy_context() if context is None else context)
        if not self._closed:
            self._ready.append(call)
        return call

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Call:  # type: ignore[override]
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Call:  # type: ignore[override]
        call = Call(callback, args, contextvars.copy_context() if context is None else context, when)
        if not self._closed:
            self._order += 1
            heappush(self._timers, (when, self._order, call))
        return call

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tasks of killed processes are never finished; nobody wants to hear of it."""

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """See `call_exception_handler`."""

    # What the simulation asks

    def put_back(self, parked: list[Call]) -> None:
        """Run these as soon as it is their turn."""
        self._ready.extend(parked)

    def run_until(self, deadline: float) -> None:
        """Run everything that is due up to this time, then let it be this time."""
        events._set_running_loop(self)
        try:
            while self._step(deadline):
                pass
        finally:
            events._set_running_loop(None)
        self.now = max(self.now, deadline)

    def close(self) -> None:
        """Nothing is taken or run any more; what is unfinished is put away."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()
        events._set_running_loop(self)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a `finally` that starts something
                self._put_away()
        finally:
            events._set_running_loop(None)

    def _put_away(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            if not task.done():
                with suppress(RuntimeError):  # a `finally` that waits
                    cast(Coroutine[Any, Any, Any], task.get_coro()).close()

    def _step(self, deadline: float) -> bool:
        ready = self._ready
        while ready:
            call = ready.popleft()
            if call._cancelled:
                continue
            process: Process | None = call._context.get(PROCESS)
            if process is not None and not process.alive:
                continue
            if process is not None and process.paused:
                process.parked.append(call)
                continue
            self.calls += 1
            call._context.run(call._callback, *call._args)
        timers = self._timers
        if not timers or timers[0][0] > deadline:
            return False
        when, _, call = heappop(timers)
        if not call._cancelled:
            self.now = when
            ready.append(call)
        return True


class SimClock(Clock):
    """Both clocks of every process: the loop's time."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return EPOCH_MS + int(self._loop.now * 1000)

    def monotonic(self) -> float:
        return self._loop.now
