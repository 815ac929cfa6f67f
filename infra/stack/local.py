"""The three real engines on this machine, as children of this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from infra.settings import Settings
from infra.stack.addresses import Address, local_addresses
from infra.stack.bootstrap import bootstrap
from infra.stack.cassandra import cassandra_engine
from infra.stack.checks import check_disk, check_java, check_maven, check_ports, find_java, require
from infra.stack.engine import Engine, run_preparation, write_files
from infra.stack.jars import missing_jars, resolve_jars
from infra.stack.kafka import kafka_engines
from infra.stack.lock import data_lock
from infra.stack.progress import Steps, silent_steps
from infra.stack.redis import redis_engine
from infra.stack.redis_package import ensure_redis_server
from infra.stack.supervisor import Supervisor
from infra.together import together

__all__ = ["LocalStack"]


class LocalStack:
    """`async with LocalStack(settings) as stack:` — Kafka, Redis and Cassandra run, with topics and tables.

    Data are kept in `settings.data_dir` for the next time. Leaving the block stops the engines; none outlives
    this process even if it is killed. An engine that crashes in between is started again.
    """

    def __init__(
        self,
        settings: Settings,
        steps: Steps | None = None,
        reserved: Mapping[str, Address] | None = None,
        adapt: Callable[[Engine], Engine] | None = None,
    ) -> None:
        """`reserved`: addresses that others will listen on, checked together with the engines' own.

        `adapt` may change how an engine is run, before it is.
        """
        self.settings = settings
        self._steps = steps or silent_steps()
        self._reserved = reserved or {}
        self._adapt = adapt or (lambda engine: engine)
        self._exit = AsyncExitStack()

    @property
    def engines(self) -> Supervisor:
        """The engines by name: kafka (kafka-2, kafka-3 … if IM_KAFKA names several), redis, cassandra."""
        return self._engines

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as entered:
            entered.enter_context(data_lock(self.settings.data_dir))
            java = await self._preflight()
            engines = await self._describe_engines(java)
            self._engines = await entered.enter_async_context(Supervisor(self._steps.note))
            await together(*(self._start(engine) for engine in engines))
            await bootstrap(self.settings, self._steps)
            self._exit = entered.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.aclose()

    async def _preflight(self) -> str:
        settings, java = self.settings, find_java()
        with self._steps.step("preflight", f"Java, disk and ports for {settings.data_dir}"):
            require(
                [
                    await check_java(java),
                    check_maven(settings),
                    check_disk(settings.data_dir.absolute()),
                    *check_ports({**local_addresses(settings), **self._reserved}),
                ]
            )
        return java or "java"

    async def _describe_engines(self, java: str) -> tuple[Engine, ...]:
        settings = self.settings
        redis_server = await ensure_redis_server(settings, self._steps)
        if missing_jars(settings):
            with self._steps.step("resolving jars (once)", str(settings.jars_dir)):
                await together(resolve_jars(settings, "kafka"), resolve_jars(settings, "cassandra"))
        return (
            redis_engine(settings, redis_server),
            *kafka_engines(settings, java, await resolve_jars(settings, "kafka")),
            cassandra_engine(settings, java, await resolve_jars(settings, "cassandra")),
        )

    async def _start(self, engine: Engine) -> None:
        engine = self._adapt(engine)
        with self._steps.step(engine.label, str(engine.address)):
            write_files(engine)
            await run_preparation(engine)
            await self._engines.start(engine.child)
