"""Real engines, and the whole system on them, once per run; both on ports and data of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import hypothesis
import pytest

from infra.settings import Settings, load_settings
from infra.stack.addresses import with_free_ports
from infra.stack.local import LocalStack
from infra.stack.system import System
from infra.stack.trial import send_trial_message
from infra.tries import in_a_few_tries
from tests.acceptance.collector import Collector

T = TypeVar("T")

hypothesis.settings.register_profile("skein", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("skein")

TEST_SECRET = "a-secret-of-tests-that-is-long-enough"


UNHURRIED = {"redis_timeout_s": 2.0, "cassandra_timeout_s": 10.0, "max_loop_lag_ms": 20_000}
"""A busy machine is no failure here either: what is refused for being slow has tests of its own."""


class Background:
    """An event loop on a thread of its own.

    What runs on it is watched and restarted all the time, whichever loop a test uses, or none.
    """

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stack")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something there and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class Running:
    """What runs in the background, for tests: where it is, tokens for it, and ways to disturb it."""

    def __init__(self, background: Background, system: System) -> None:
        self._background = background
        self._system = system
        self.settings = system.settings
        gateway = next(iter(system.addresses.values()))
        self.url = f"http://{gateway}"
        self.ws_url = f"ws://{gateway}/v1/ws"

    def token(self, user: str, role: str | None = None) -> str:
        return self._system.token(user, role)

    def pid(self, name: str) -> int:
        return self._system.pids[name]

    def kill(self, name: str) -> None:
        """End gw-1, worker-1, worker-2, kafka, redis or cassandra by SIGKILL; it comes back by itself."""
        self._background.call(self._kill(name))

    async def _kill(self, name: str) -> None:
        self._system.kill(name)

    def restart(self, name: str) -> None:
        """Stop it in its own time, start it, return when it is ready."""
        self._background.call(self._system.restart(name))

    def wait_ready(self, name: str) -> None:
        """Return when it is ready (again)."""
        self._background.call(self._system.wait_ready(name))


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    with Background() as running:
        yield running


@pytest.fixture(scope="session")
def collector(background: Background) -> Iterator[Collector]:
    """Takes the spans of everything that runs; only what asks for a trace has any."""
    yield from in_background(background, Collector())


@pytest.fixture(scope="session")
def stack(
    background: Background, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalStack]:
    """Kafka, Redis and Cassandra with topics and tables, on free ports, with data that are thrown away."""
    settings = _settings(tmp_path_factory.mktemp("stack"), collector.url)
    yield from in_background(background, LocalStack(settings))


@pytest.fixture(scope="session")
def engines(stack: LocalStack) -> Settings:
    """The settings that lead to running engines."""
    return stack.settings


@pytest.fixture(scope="session")
def system(background: Background, stack: LocalStack) -> Iterator[Running]:
    """One gateway and the workers on running engines, started as `im run` starts them.

    As there, a first message has passed: until then workers still share out their partitions.
    """
    for running in in_background(background, System(stack)):
        (gateway,) = running.addresses.values()
        background.call(in_a_few_tries(partial(send_trial_message, gateway, running.token)))
        yield Running(background, running)


def in_background(background: Background, context: Any) -> Iterator[Any]:
    """Enter an async context in the background, hand it out, leave it."""
    entered = background.call(context.__aenter__())
    try:
        yield entered
    finally:
        background.call(context.__aexit__(None, None, None))


def _settings(data_dir: Path, collector_url: str) -> Settings:
    given = {
        "data_dir": data_dir,
        "auth_secret": TEST_SECRET,
        "limits": "off",
        "otlp_endpoint": collector_url,
        "trace_ratio": 0.0,
        **UNHURRIED,
    }
    return with_free_ports(Settings.model_validate({**load_settings().model_dump(), **given}))
