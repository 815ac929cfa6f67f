"""The commands of the pipeline: worker, tap, status, policy. Each imports what it needs when it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from infra.ports import Bus
    from infra.settings import Settings

__all__ = ["app"]

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True)


@app.command()
def worker(
    stages: Annotated[
        list[str] | None, typer.Argument(help="Stages to run; all of them if none is named.")
    ] = None,
) -> None:
    """Run stages of the path in this process, until SIGTERM.

    [b]im worker[/b] runs all of them, [b]im worker persistence receipts[/b] only these. Any number of
    workers may run the same stage: they share its partitions. Give each its own IM_WORKER_ID.
    """
    from infra.lifecycle import run_service
    from infra.settings import load_settings
    from pipeline.topology import stages_named
    from pipeline.worker import Worker

    settings = load_settings()
    specs = stages_named(stages or [])
    run_service(lambda: Worker(settings, specs), settings.log_level)


@app.command()
def tap(
    topic: Annotated[str, typer.Argument(help="im.messages, im.moderation, im.receipts, im.dlq, …")],
    since: Annotated[str, typer.Option(help="Also what is there already: 10m, 2h, or ms since 1970.")] = "",
    where: Annotated[
        list[str] | None, typer.Option(help="field=value or field!=value; may be repeated.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many records.")] = None,
    follow: Annotated[bool, typer.Option(help="Go on with what comes.")] = True,
) -> None:
    """Decoded records of a topic as JSON lines. Belongs to no group: nobody's offsets move.

    [b]im tap im.messages --since 10m --where conversation_id=d:alice:bob --no-follow | jq .value.content[/b]
    """
    import sys

    import orjson
    import uvloop

    from infra.clock import SystemClock
    from infra.kafka import KafkaBus
    from infra.settings import load_settings
    from pipeline import tap as tapping

    keep = tapping.parse_filters(where or [])
    since_ms = tapping.parse_since_ms(since, SystemClock().now_ms()) if since else None

    def emit(line: dict[str, object]) -> None:
        sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
        sys.stdout.buffer.flush()

    async def run() -> None:
        bus = KafkaBus(load_settings(), client_id="im-tap")
        await bus.startup()
        try:
            await tapping.tap(bus, topic, since_ms, follow, limit, keep, emit)
        finally:
            await bus.shutdown()

    try:
        uvloop.run(run())
    except (KeyboardInterrupt, BrokenPipeError):
        raise typer.Exit from None


@app.command()
def status() -> None:
    """How far each stage is, and what is unaccounted for. Exit 1 if a stage stands still, or anything is."""
    import uvloop
    from rich.console import Console

    from infra.settings import load_settings
    from pipeline.status import read_status, table_of

    found = uvloop.run(read_status(load_settings()))
    Console().print(table_of(found))
    raise typer.Exit(int(not found.ok))


policy_app = typer.Typer(no_args_is_help=True, help="The moderation rules in force.")
app.add_typer(policy_app, name="policy")


@policy_app.command("show")
def policy_show() -> None:
    """Print the policy in force as JSON."""
    import msgspec
    import uvloop

    from infra.settings import load_settings
    from pipeline.moderation.policy import read_policy

    policy = uvloop.run(_with_bus(load_settings(), read_policy))
    typer.echo(msgspec.json.format(msgspec.json.encode(policy)).decode())


@policy_app.command("set")
def policy_set(
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(help="JSON: {version, rules: [{id, rule_class, action, words}]}")
    ],
) -> None:
    """Put a policy in force, without a restart; its version must be higher than the present one."""
    import msgspec
    import uvloop

    from infra.audit import operator_name
    from infra.clock import SystemClock
    from infra.settings import load_settings
    from pipeline.moderation.policy import replace_policy
    from schemas.errors import BadInput
    from schemas.records import Policy

    try:
        policy = msgspec.json.decode(file.read(), type=Policy)
    except msgspec.DecodeError as error:
        raise BadInput(f"not a policy: {error}") from error

    async def replace(bus: Bus) -> None:
        await replace_policy(bus, SystemClock(), operator_name(), policy)

    uvloop.run(_with_bus(load_settings(), replace))
    typer.echo(f"policy version {policy.version}: {len(policy.rules)} rules")


async def _with_bus(settings: Settings, use: Callable[[Bus], Awaitable[T]]) -> T:
    """Open the log, use it, close it."""
    from infra.kafka import KafkaBus

    bus = KafkaBus(settings, client_id="im-command")
    await bus.startup()
    try:
        return await use(bus)
    finally:
        await bus.shutdown()
