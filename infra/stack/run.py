"""`im run`: everything on this machine, from nothing to two people who can chat, until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

from rich.console import Console

from infra.settings import Settings
from infra.stack.addresses import local_addresses
from infra.stack.checks import find_java, raise_descriptor_limit
from infra.stack.jars import resolve_jars
from infra.stack.local import LocalStack
from infra.stack.progress import Steps
from infra.stack.system import System, gateway_addresses
from infra.stack.targets import targets_file, write_targets
from infra.stack.trial import send_trial_message
from infra.stack.zipkin import with_zipkin, zipkin_address, zipkin_engine

__all__ = ["run", "until_told"]

FIRST_QUERY: Final = "SELECT * FROM messages LIMIT 5;"


def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run until the work ends or SIGINT or SIGTERM comes, which cancels it and waits for its clean-up."""

    async def main() -> None:
        task = asyncio.create_task(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _cancel_once(task))
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())


async def run(settings: Settings, console: Console, *, engines_only: bool, zipkin: bool = False) -> None:
    """Start everything, say where it is, and keep it running until cancelled.

    `zipkin`: one more engine, which all spans go to.

    Raises an `ImError` that names the cause when a part cannot be started or keeps ending.
    """
    raise_descriptor_limit()
    gateways = {} if engines_only else gateway_addresses(settings)
    reserved = {f"IM_PORT ({name})": address for name, address in gateways.items()}
    if zipkin:
        reserved["IM_ZIPKIN_PORT"] = zipkin_address(settings)
    with Steps(console) as steps:
        try:
            async with LocalStack(settings, steps, reserved) as stack:
                if zipkin:
                    await _start_zipkin(stack, steps)
                    settings = with_zipkin(settings)
                if engines_only:
                    _say_where_engines_are(settings, console)
                    await stack.engines.wait_failed()
                else:
                    await _run_system(stack, settings, steps, console)
        finally:
            console.print("stopped; the data are kept", style="dim")


async def _start_zipkin(stack: LocalStack, steps: Steps) -> None:
    with steps.step("Zipkin 3", str(zipkin_address(stack.settings))):
        jars = await resolve_jars(stack.settings, "zipkin")
        await stack.engines.start(zipkin_engine(stack.settings, find_java() or "java", jars).child)


async def _run_system(stack: LocalStack, settings: Settings, steps: Steps, console: Console) -> None:
    async with System(stack, steps, settings=settings) as system:
        write_targets(targets_file(settings), system.probes)
        with steps.step("trial message alice → bob", "delivered through the whole path"):
            await send_trial_message(next(iter(system.addresses.values())), system.token)
        _say_what_to_try(system.settings, console)
        await system.wait_failed()


def _cancel_once(task: asyncio.Task[None]) -> Any:
    def cancel() -> None:
        if not task.cancelling():
            task.cancel()

    return cancel


def _say_where_engines_are(settings: Settings, console: Console) -> None:
    where = f"IM_KAFKA={settings.kafka} IM_REDIS={settings.redis} IM_CASSANDRA={settings.cassandra}"
    console.print(f"\n   {where}\n   Ctrl-C stops them", markup=False, highlight=False, soft_wrap=True)


def _say_what_to_try(settings: Settings, console: Console) -> None:
    page = f"http://{settings.host}:{settings.port}"
    host, port = local_addresses(settings)["IM_CASSANDRA"]
    traces = f"   Traces    {settings.zipkin_endpoint}   (im send bob hello --as alice --trace)"
    lines = (
        "",
        f"   Chat      {page}/?as=alice     (and {page}/?as=bob in another window)",
        "   Terminal  im chat d:alice:bob --as alice",
        "   Records   im tap im.messages",
        f'   CQL       cqlsh {host} {port} -k {settings.keyspace} -e "{FIRST_QUERY}"',
        "   Health    im doctor, im top",
        *((traces,) if settings.zipkin_endpoint else ()),
        f"   Ctrl-C stops everything; data in {settings.data_dir}   (make reset forgets them)",
    )
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
