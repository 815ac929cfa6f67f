"""The commands `im limits …`: who is suspended, and what tenants may send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.printing import FormOption

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


@limits_app.command("list")
def list_suspended(output: FormOption = None) -> None:
    """Who is suspended, why, and for how long yet.

    Example: im limits list -o ndjson | jq -r .subject
    """
    from dataclasses import asdict

    from gateway.limits.operations import read_suspended
    from infra.printing import print_rows, table_of

    rows = _look(read_suspended)
    found = [asdict(row) for row in rows]
    print_rows(found, output, table_of(found))


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
    from gateway.limits.operations import subject_of, suspension_ms

    name, for_ms = subject_of(subject), suspension_ms(span)
    if not yes:
        typer.confirm(f"Suspend {name} for {span}, on all gateways?", abort=True, err=True)
    _do(lambda operations: operations.suspend(name, for_ms))
    typer.echo(f"{name} is suspended for {span}")


@quota_app.command("show")
def quota_show(tenant: Tenant, output: FormOption = None) -> None:
    """What holds for a tenant, and who says so.

    Example: im limits quota show acme
    """
    from dataclasses import asdict

    from gateway.limits.operations import read_quota
    from infra.printing import print_rows, table_of
    from infra.settings import load_settings

    row = _look(lambda shared: read_quota(shared, load_settings(), tenant))
    print_rows([asdict(row)], output, table_of([asdict(row)]))


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
