"""`im rebuild`: Cassandra or Redis out of the log. Each imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.printing import FormOption

if TYPE_CHECKING:
    from pipeline.ops.rebuild.redis import IndexPlan
    from pipeline.ops.replay.progress import Progress

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)
rebuild = typer.Typer(no_args_is_help=True, help="Make Cassandra or Redis anew out of the log.")
app.add_typer(rebuild, name="rebuild")


@rebuild.command("cassandra")
def rebuild_history(
    keyspace: Annotated[str, typer.Option(help="An empty one, or a new name.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where the progress is kept.")] = Path(),
) -> None:
    """Messages and cursors into an empty keyspace, made if need be. Ctrl-C pauses; run it again to go on.

    The live keyspace is not touched. When it is done, compare the two, and set IM_KEYSPACE.

    [b]im rebuild cassandra --keyspace skein_2 && im rebuild compare skein_2[/b]
    """
    import uvloop

    from infra.audit import operator_name
    from infra.settings import Settings, load_settings
    from pipeline.ops.doors import open_doors
    from pipeline.ops.rebuild.cassandra import prepare_keyspace, rebuild_cursors, rebuild_messages
    from pipeline.ops.replay.bar import bar, stop_on_interrupt

    settings = Settings.model_validate({**load_settings().model_dump(), "keyspace": keyspace})
    path = folder / f"rebuild-{keyspace}.json"

    async def run() -> tuple[Progress, int]:
        stop = stop_on_interrupt()
        if not path.exists():
            await prepare_keyspace(settings)
        async with open_doors(settings, "bus", "history", "routes") as doors:
            actor = operator_name()
            with bar("Messages") as show:
                progress = await rebuild_messages(doors, path, actor, stop, show)
            if progress.state != "done":
                return progress, 0
            with bar("Cursors") as show:
                return progress, await rebuild_cursors(doors, actor, show)

    progress, cursors = uvloop.run(run())
    speed = progress.read / progress.seconds if progress.seconds else 0
    typer.echo(
        f"{progress.state}: {progress.read:,} messages · {progress.effects:,} rows · {cursors:,} cursors · "
        f"failed {progress.failed:,} · {speed:,.0f} messages/s"
    )
    if progress.state != "done":
        typer.echo(f"paused: im rebuild cassandra --keyspace {keyspace}", err=True)
    raise typer.Exit(int(progress.failed > 0))


@rebuild.command("redis")
def rebuild_index(
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it you are told what would be.")] = False,
) -> None:
    """Inboxes, heads and large conversations from the log. Nobody is delivered to; routes come by themselves.

    [b]im rebuild redis --yes[/b]
    """
    import uvloop

    from infra.audit import operator_name
    from infra.settings import load_settings
    from pipeline.ops.doors import open_doors
    from pipeline.ops.rebuild.redis import apply_index, fold_log
    from pipeline.ops.replay.bar import bar

    async def run() -> None:
        async with open_doors(load_settings(), "bus", "routes") as doors:
            with bar("Reading") as show:
                plan = await fold_log(doors, show)
            _say_index(plan)
            if yes:
                with bar("Writing") as show:
                    await apply_index(doors, plan, operator_name(), show)

    uvloop.run(run())
    typer.echo("rebuilt" if yes else "nothing was changed: --yes does it")


@rebuild.command("compare")
def compare_keyspaces(
    keyspace: Annotated[str, typer.Argument(help="The rebuilt one.")],
    output: FormOption = None,
) -> None:
    """Rows and digest of every table, in this keyspace and the live one. Exit 1 if one differs.

    While people chat the live one is ahead: compare when it is quiet, or rebuild what came since by a replay.
    """
    import uvloop

    from infra.cassandra import TableDigest, digest_keyspace
    from infra.printing import print_rows, table_of
    from infra.settings import load_settings

    settings = load_settings()

    async def read() -> tuple[dict[str, TableDigest], dict[str, TableDigest]]:
        other = settings.model_copy(update={"keyspace": keyspace})
        return await digest_keyspace(settings), await digest_keyspace(other)

    live, rebuilt = uvloop.run(read())
    rows = [
        {
            "table": table,
            settings.keyspace: digest.rows,
            keyspace: rebuilt[table].rows,
            "equal": "yes" if digest == rebuilt[table] else "NO",
        }
        for table, digest in live.items()
    ]
    print_rows(rows, output, table_of(rows, "Rows"))
    raise typer.Exit(int(live != rebuilt))


def _say_index(plan: IndexPlan) -> None:
    from infra.printing import counted

    large = sum(1 for _ in plan.fold.large())
    users = len(plan.fold.inboxes())
    speed = plan.records / plan.seconds if plan.seconds else 0
    typer.echo(
        f"  read               {counted(plan.records, 'message')} at {speed:,.0f}/s\n"
        f"  unreadable         {plan.failed:,}\n"
        f"  heads              {len(plan.fold):,} conversations, of which {large:,} large\n"
        f"  inboxes            {counted(users, 'user')}\n"
        f"  there already      {plan.known:,} of {plan.sampled:,} sampled heads; what is there only rises\n"
        "  effect on clients  none: nobody is delivered to",
        err=True,
    )
