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
from infra.stack.checks import raise_descriptor_limit
from infra.stack.local import LocalStack
from infra.stack.progress import Steps
from infra.stack.system import System, gateway_addresses
from infra.stack.trial import send_trial_message

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


async def run(settings: Settings, console: Console, *, engines_only: bool) -> None:
    """Start everything, say where it is, and keep it running until cancelled.

    Raises an `ImError` that names the cause when a part cannot be started or keeps ending.
    """
    raise_descriptor_limit()
    gateways = {} if engines_only else gateway_addresses(settings)
    reserved = {f"IM_PORT ({name})": address for name, address in gateways.items()}
    with Steps(console) as steps:
        try:
            async with LocalStack(settings, steps, reserved) as stack:
                if engines_only:
                    _say_where_engines_are(settings, console)
                    await stack.engines.wait_failed()
                else:
                    await _run_system(stack, steps, console)
        finally:
            console.print("stopped; the data are kept", style="dim")


async def _run_system(stack: LocalStack, steps: Steps, console: Console) -> None:
    async with System(stack, steps) as system:
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
    lines = (
        "",
        f"   Chat      {page}/?as=alice     (and {page}/?as=bob in another window)",
        "   Terminal  im chat d:alice:bob --as alice",
        "   Records   im tap im.messages",
        f'   CQL       cqlsh {host} {port} -k {settings.keyspace} -e "{FIRST_QUERY}"',
        "   Health    im doctor",
        f"   Ctrl-C stops everything; data in {settings.data_dir}   (make reset forgets them)",
    )
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
