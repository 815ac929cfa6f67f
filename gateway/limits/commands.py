"""The commands `im limits …`: who is suspended, and what tenants may send."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.limits.operations import Operations
    from infra.ports import SharedLimits

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)
limits_app = typer.Typer(no_args_is_help=True, help="Suspensions and quotas, for all gateways.")
quota_app = typer.Typer(no_args_is_help=True, help="What a tenant may send in a second over all gateways.")
app.add_typer(limits_app, name="limits")
limits_app.add_typer(quota_app, name="quota")

Subject = Annotated[str, typer.Argument(help="A user, or an ip; user:NAME and ip:ADDRESS leave no doubt.")]
Tenant = Annotated[str, typer.Argument(help="As in the tenant claim of a token.")]


class Form(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"


Output = Annotated[Form | None, typer.Option("-o", help="Default: a table on a terminal, NDJSON in a pipe.")]


@limits_app.command("list")
def list_suspended(output: Output = None) -> None:
    """Who is suspended, why, and for how long yet.

    Example: im limits list -o ndjson | jq -r .subject
    """
    from dataclasses import asdict

    from gateway.limits.operations import read_suspended

    rows = _look(read_suspended)
    _print([asdict(row) for row in rows], ("subject", "reason", "since_ms", "left_s"), output)


@limits_app.command()
def lift(subject: Subject) -> None:
    """End a suspension. Exit 1 if there was none.

    Example: im limits lift eve
    """
    from gateway.limits.operations import subject_of

    name = subject_of(subject)
    lifted = _do(lambda operations: operations.lift(name))
    typer.echo(f"{name} may come in again" if lifted else f"{name} was not suspended")
    raise typer.Exit(0 if lifted else 1)


@limits_app.command()
def suspend(
    subject: Subject,
    span: Annotated[str, typer.Option("--for", help="90s, 10m, 2h, 7d.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Close the sockets of a user or ip with 4501 and let nobody in from there for a while.

    Example: im limits suspend eve --for 10m
    """
    from gateway.limits.operations import parse_span_ms, subject_of

    name, for_ms = subject_of(subject), parse_span_ms(span)
    if not yes:
        typer.confirm(f"Suspend {name} for {span}, on all gateways?", abort=True, err=True)
    _do(lambda operations: operations.suspend(name, for_ms))
    typer.echo(f"{name} is suspended for {span}")


@quota_app.command("show")
def quota_show(tenant: Tenant, output: Output = None) -> None:
    """What holds for a tenant, and who says so.

    Example: im limits quota show acme
    """
    from dataclasses import asdict

    from gateway.limits.operations import read_quota
    from infra.settings import load_settings

    row = _look(lambda shared: read_quota(shared, load_settings(), tenant))
    _print([asdict(row)], ("tenant", "per_s", "said_by"), output)


@quota_app.command("set")
def quota_set(
    tenant: Tenant, per_s: Annotated[float, typer.Argument(min=0.1, help="Messages a second.")]
) -> None:
    """Set a tenant's quota, whatever settings say; all gateways follow within half a second.

    Example: im limits quota set acme 500
    """
    _do(lambda operations: operations.set_quota(tenant, per_s))
    typer.echo(f"{tenant} may send {per_s:g} messages a second")


@quota_app.command("unset")
def quota_unset(tenant: Tenant) -> None:
    """Let settings say again what a tenant may send.

    Example: im limits quota unset acme
    """
    _do(lambda operations: operations.set_quota(tenant, None))
    typer.echo(f"the quota of {tenant} is what settings say")


def _look(work: Callable[[SharedLimits], Awaitable[Any]]) -> Any:
    """Only Redis is needed to look."""
    import uvloop

    from infra.redis_limits import RedisSharedLimits
    from infra.settings import load_settings

    async def run() -> Any:
        shared = RedisSharedLimits(load_settings())
        try:
            return await work(shared)
        finally:
            await shared.shutdown()

    return uvloop.run(run())


def _do(work: Callable[[Operations], Awaitable[Any]]) -> Any:
    """A change is said on im.audit, so it needs the log too."""
    from gateway.limits.operations import Operations
    from infra.audit import operator_name
    from infra.clock import SystemClock
    from infra.kafka import KafkaBus
    from infra.settings import load_settings

    async def run(shared: SharedLimits) -> Any:
        bus = KafkaBus(load_settings(), client_id="im-limits")
        try:
            await bus.startup()
            return await work(Operations(shared, bus, SystemClock(), operator_name()))
        finally:
            await bus.shutdown()

    return _look(run)


def _print(rows: Sequence[dict[str, Any]], columns: Sequence[str], output: Form | None) -> None:
    import sys

    import msgspec
    from rich.console import Console
    from rich.table import Table

    form = output or (Form.TABLE if sys.stdout.isatty() else Form.NDJSON)
    if form is Form.JSON:
        typer.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
    elif form is Form.NDJSON:
        for row in rows:
            typer.echo(msgspec.json.encode(row).decode())
    else:
        table = Table(*columns)
        for row in rows:
            table.add_row(*(str(row[column]) for column in columns))
        Console().print(table)
