"""The commands of this package: run, reset, doctor, token, jars.

Everything heavy is imported by the command that needs it.
"""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer()


@app.command()
def run(
    engines_only: Annotated[
        bool,
        typer.Option("--engines-only", help="Only Kafka, Redis and Cassandra, with topics and tables."),
    ] = False,
    zipkin: Annotated[bool, typer.Option("--zipkin", help="Also a Zipkin, to look at traces in.")] = False,
) -> None:
    """Run everything on this machine until Ctrl-C. Settings are IM_* variables.

    Example: IM_PORT=8090 IM_GATEWAYS=2 im run
    """
    from rich.console import Console

    from infra.settings import load_settings
    from infra.stack.run import run as run_all
    from infra.stack.run import until_told

    until_told(run_all(load_settings(), Console(), engines_only=engines_only, zipkin=zipkin))


@app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget all data of `im run`: messages, accounts, the secret. The jars stay.

    Example: im reset --yes
    """
    from infra.settings import load_settings
    from infra.stack.reset import forget, kept_data

    settings = load_settings()
    names = [path.name for path in kept_data(settings)]
    if not names:
        typer.echo(f"nothing to forget in {settings.data_dir}")
        return
    if not yes:
        typer.confirm(f"Forget {', '.join(names)} in {settings.data_dir.absolute()}?", abort=True)
    forget(settings)
    typer.echo(f"forgot {', '.join(names)}")


@app.command()
def doctor() -> None:
    """Look at this machine and at what runs: each line ✔ or ✘ with what to do. Exit 1 on a finding.

    Example: im doctor
    """
    import asyncio

    from rich.console import Console

    from infra.settings import load_settings
    from infra.stack.doctor import examine

    console, findings = Console(), 0
    for check in asyncio.run(examine(load_settings())):
        findings += not check.ok
        console.print(" ✔" if check.ok else " ✘", style="green" if check.ok else "red", end="")
        text = f" {check.title}" if check.ok else f" {check.title} → {check.fix}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1 if findings else 0)


@app.command()
def token(
    user: Annotated[str, typer.Argument(help="Who may connect with it.")],
    role: Annotated[str | None, typer.Option(help="`server` may act for the service.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose user this is.")] = None,
    expires_s: Annotated[int, typer.Option(min=1, help="How long it is good for.")] = 86_400,
) -> None:
    """Print a token for USER, signed with IM_AUTH_SECRET or the secret that `im run` kept.

    Example: im token alice
    """
    import time

    from infra.settings import load_settings
    from infra.stack.secret import known_secret
    from infra.tokens import mint_for

    settings = load_settings()
    secret = known_secret(settings)
    typer.echo(
        mint_for(
            settings, secret, user, now_s=int(time.time()), expires_s=expires_s, role=role, tenant=tenant
        )
    )


@app.command("kafka-rights")
def kafka_rights(
    gateway_user: Annotated[str, typer.Argument(help="Who gateways are to Kafka.")],
    worker_user: Annotated[str, typer.Argument(help="Who workers are to Kafka.")],
    gateway_id: Annotated[
        list[str] | None, typer.Option(help="Each gateway; default: IM_GATEWAY_ID.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Give them; without it they are only shown.")] = False,
) -> None:
    """Show the least rights that gateways and workers need in Kafka, and give them with --yes.

    As IM_KAFKA_USER, who must be allowed to. Example: im kafka-rights gateway worker --gateway-id gw-1 --yes
    """
    import asyncio

    from infra.audit import audited, operator_name
    from infra.clock import SystemClock
    from infra.kafka import KafkaBus
    from infra.kafka.acls import ensure_grants, gateway_grants, worker_grants
    from infra.settings import load_settings

    settings = load_settings()
    gateways = gateway_id or [settings.gateway_id]
    grants = [
        *(grant for name in gateways for grant in gateway_grants(gateway_user, name)),
        *worker_grants(worker_user),
    ]
    grants = list(dict.fromkeys(grants))
    for grant in grants:
        star = "*" if grant.prefixed else ""
        typer.echo(f"{grant.user}\t{grant.operation}\t{grant.resource}\t{grant.name}{star}")

    async def give() -> None:
        bus = KafkaBus(settings, client_id="im-command")
        await bus.startup()
        try:
            to = {"gateway_user": gateway_user, "worker_user": worker_user, "gateways": gateways}
            async with audited(bus, SystemClock(), operator_name(), "kafka.rights", worker_user, to):
                await ensure_grants(settings, grants)
        finally:
            await bus.shutdown()

    if yes:
        asyncio.run(give())


@app.command()
def jars() -> None:
    """Resolve the jars of Kafka and Cassandra from Maven Central, if they are not there yet.

    Example: im jars
    """
    import asyncio

    from rich.console import Console

    from infra.settings import load_settings
    from infra.stack.jars import JVM_ENGINES, resolve_jars
    from infra.stack.progress import Steps

    async def resolve(steps: Steps) -> None:
        for engine in JVM_ENGINES:
            with steps.step(f"jars of {engine}", str(settings.jars_dir)):
                await resolve_jars(settings, engine)

    settings = load_settings()
    with Steps(Console()) as steps:
        asyncio.run(resolve(steps))
