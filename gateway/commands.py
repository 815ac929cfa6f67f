"""The commands `im gateway`, `im gateways` and `im drain`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from infra.printing import FormOption

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from infra.kafka import KafkaBus
    from infra.ports import GatewayNotice
    from infra.printing import Form
    from infra.redis import RedisRouteTable

__all__ = ["app"]

app = typer.Typer()


@app.command()
def gateway() -> None:
    """Run one gateway until SIGTERM, then let its clients go. Settings are IM_* variables.

    Example: IM_AUTH_SECRET=… IM_GATEWAY_ID=gw-2 IM_PORT=8081 im gateway
    """
    from gateway.process import GatewayProcess
    from infra.lifecycle import run_service
    from infra.settings import load_settings

    settings = load_settings()
    run_service(lambda: GatewayProcess(settings), settings.log_level)


@app.command()
def gateways(output: FormOption = None) -> None:
    """The gateways that are alive: state, connections, weight for dispatch, memory, lag of the loop.

    Example: im gateways -o json | jq '.[] | select(.state != "open")'
    """
    import asyncio

    async def read() -> list[GatewayNotice]:
        async with _routes() as routes:
            return await routes.gateways()

    _show(asyncio.run(read()), output)


@app.command()
def drain(
    gateway_id: Annotated[str, typer.Argument(metavar="GATEWAY", help="As in `im gateways`.")],
    over: Annotated[str, typer.Option(help="Spread over this time: 60s, 5m, or milliseconds.")] = "60s",
    undo: Annotated[bool, typer.Option("--undo", help="Have it take clients again.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Move the clients of a running gateway to the others, a few at a time. It stays, empty, until --undo.

    Exit 1 if it is not empty half a minute after the time. Its clients lose nothing and see nothing twice.

    Example: im drain gw-2 --over 60s --yes
    """
    import asyncio

    from gateway.fleet import drain as drain_gateway
    from gateway.fleet import plan_drain, undo_drain
    from infra.audit import operator_name
    from infra.clock import SystemClock
    from infra.durations import parse_duration_ms

    over_s = parse_duration_ms(over) / 1000

    def progress(notice: GatewayNotice) -> None:
        typer.echo(f"{notice.gateway_id} {notice.state}: {notice.connections} connections", err=True)

    async def run() -> bool:
        clock = SystemClock()
        async with _routes() as routes, _bus() as bus:
            plan = plan_drain(await routes.gateways(), gateway_id)
            if undo:
                return await undo_drain(bus, routes, clock, operator_name(), gateway_id, progress)
            takers = ", ".join(plan.others) or "no other gateway"
            typer.echo(
                f"{gateway_id} ({plan.state}): {plan.connections} connections go to {takers}, "
                f"room for {plan.room}, over {over_s:g} s",
                err=True,
            )
            if not plan.fits:
                typer.echo("✘ the others cannot take them: clients will wait outside", err=True)
            if not yes:
                typer.confirm("Drain it?", abort=True, err=True)
            return await drain_gateway(bus, routes, clock, operator_name(), plan, over_s, progress)

    if not asyncio.run(run()):
        typer.echo(f"✘ {gateway_id} did not get there in time; `im gateways` shows where it is", err=True)
        raise typer.Exit(1)


@asynccontextmanager
async def _routes() -> AsyncIterator[RedisRouteTable]:
    from infra.clock import SystemClock
    from infra.redis import RedisRouteTable
    from infra.settings import load_settings

    routes = RedisRouteTable(load_settings(), SystemClock())
    try:
        await routes.startup()
        yield routes
    finally:
        await routes.shutdown()


@asynccontextmanager
async def _bus() -> AsyncIterator[KafkaBus]:
    from infra.kafka import KafkaBus
    from infra.settings import load_settings

    bus = KafkaBus(load_settings(), client_id="im-command")
    await bus.startup()
    try:
        yield bus
    finally:
        await bus.shutdown()


def _show(notices: list[GatewayNotice], output: Form | None) -> None:
    from rich.table import Table

    from infra.printing import print_rows

    table = Table("gateway", "state", "connections", "weight", "memory", "lag", "region", "url")
    for n in notices:
        used = f"{n.connections:,}/{n.max_connections:,}"
        memory, lag = f"{n.memory_bytes / 2**20:,.0f} MiB", f"{n.loop_lag_ms} ms"
        table.add_row(n.gateway_id, n.state, used, str(n.weight), memory, lag, n.region, n.url)
    print_rows(notices, output, table)
