"""`im replay`: plan, apply, resume, status. Each imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.printing import FormOption

if TYPE_CHECKING:
    from pipeline.ops.replay.plan import Plan
    from pipeline.ops.replay.progress import Progress

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)
replay = typer.Typer(no_args_is_help=True, help="Feed messages of the log into one stage again.")
app.add_typer(replay, name="replay")

PlanFile = Annotated[Path, typer.Argument(help="What `im replay plan` wrote.", dir_okay=False)]


@replay.command("plan")
def plan_replay(
    stage: Annotated[
        str,
        typer.Option(help="persist: rows into the history; index: inboxes and heads; export: JSON lines."),
    ],
    from_: Annotated[str, typer.Option("--from", help="10m, 10:20, an ISO time; else from the start.")] = "",
    to: Annotated[str, typer.Option(help="The same; else up to now.")] = "",
    conversation: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    user: Annotated[
        list[str] | None, typer.Option(help="Only the conversations of this user; may be repeated.")
    ] = None,
    partition: Annotated[int | None, typer.Option(help="Only this partition.")] = None,
    from_offset: Annotated[int | None, typer.Option(min=0, help="From this offset of --partition.")] = None,
    to_offset: Annotated[int | None, typer.Option(min=0, help="To before this offset.")] = None,
    rate: Annotated[int, typer.Option(min=0, help="Records a second at most; 0: no limit.")] = 20_000,
    out: Annotated[str, typer.Option(help="The folder of an export.")] = "",
    folder: Annotated[Path, typer.Option("--dir", help="Where the plan is written.")] = Path(),
) -> None:
    """Say what a replay would touch, and keep that as a plan. Changes nothing.

    [b]im replay plan --stage persist --from 10:00 --to 10:20[/b]
    """
    import msgspec
    import uvloop

    from infra.audit import operator_name
    from infra.clock import SystemClock
    from infra.settings import load_settings
    from pipeline.ops.doors import open_doors
    from pipeline.ops.replay.bar import bar
    from pipeline.ops.replay.plan import save
    from pipeline.ops.replay.planning import Request, make_plan
    from pipeline.ops.times import parse_time_ms
    from schemas.errors import BadInput

    if stage not in ("persist", "index", "export"):
        raise BadInput(f"--stage is persist, index or export, not {stage!r}")
    now_ms = SystemClock().now_ms()
    request = msgspec.convert(
        {
            "stage": stage,
            "from_ms": parse_time_ms(from_, now_ms) if from_ else None,
            "to_ms": parse_time_ms(to, now_ms) if to else None,
            "partition": partition,
            "from_offset": from_offset,
            "to_offset": to_offset,
            "conversations": conversation or [],
            "users": user or [],
            "rate": rate,
            "out": out,
        },
        Request,
    )

    async def run() -> Plan:
        async with open_doors(load_settings(), "bus", "routes", "history") as doors:
            with bar("Counting") as show:
                return await make_plan(doors, request, operator_name(), show)

    plan = uvloop.run(run())
    path = folder / f"{plan.plan_id}.json"
    if plan.stage == "export" and not plan.out:
        plan = msgspec.structs.replace(plan, out=str(folder / plan.plan_id))
    save(path, plan)
    _say_plan(plan, path)


@replay.command("apply")
def apply_replay(plan: PlanFile) -> None:
    """Carry out a plan. Ctrl-C pauses it; whatever ends it, it can be resumed. Exit 1 if records failed."""
    _run(plan, resume=False)


@replay.command("resume")
def resume_replay(plan: PlanFile) -> None:
    """Go on with a plan that was paused or killed, with exact counts. Exit 1 if records failed."""
    _run(plan, resume=True)


@replay.command("status")
def replay_status(
    folder: Annotated[Path, typer.Argument(help="Where the plans are.")] = Path(),
    output: FormOption = None,
) -> None:
    """The plans in a folder and how far each is."""
    from infra.printing import print_rows, table_of
    from pipeline.ops.replay.plan import load_plan
    from pipeline.ops.replay.progress import load_progress

    rows: list[dict[str, Any]] = []
    for path in sorted([*folder.glob("replay-*.json"), *folder.glob("rebuild-*.json")]):
        plan, progress = load_plan(path), load_progress(path)
        rows.append(
            {
                "plan": str(path),
                "stage": plan.stage,
                "created_ms": plan.created_ms,
                "state": progress.state if progress else "not begun",
                "read": progress.read if progress else 0,
                "of": plan.counts.records,
                "failed": progress.failed if progress else 0,
            }
        )
    print_rows(rows, output, table_of(rows, "Replays"))


def _run(path: Path, *, resume: bool) -> None:
    import uvloop

    from infra.audit import operator_name
    from infra.settings import load_settings
    from pipeline.ops.doors import open_doors
    from pipeline.ops.replay.bar import bar, stop_on_interrupt
    from pipeline.ops.replay.plan import load_plan
    from pipeline.ops.replay.replay import apply_plan

    plan = load_plan(path)
    settings = load_settings().model_copy(update={"keyspace": plan.keyspace})

    async def run() -> Progress:
        stop = stop_on_interrupt()
        async with open_doors(settings, "bus", "routes", "history") as doors:
            with bar("Replaying") as show:
                return await apply_plan(
                    doors,
                    path,
                    operator_name(),
                    resume=resume,
                    stop=stop,
                    report=lambda progress: show(progress.read, plan.counts.records),
                )

    progress = uvloop.run(run())
    _say_progress(plan, progress)
    if progress.state != "done":
        typer.echo(f"paused: im replay resume {path}", err=True)
    raise typer.Exit(int(progress.failed > 0))


def _say_plan(plan: Plan, path: Path) -> None:
    """The blast radius, for people."""
    counts = plan.counts
    share = counts.repeats / counts.sampled if counts.sampled else 0.0
    seconds = f"{counts.selected / plan.rate:,.0f} s" if plan.rate else "as fast as it goes"
    places = ", ".join(f"[{r.partition}]@{r.start}–{r.end}" for r in plan.ranges) or "nothing"
    effect = {
        "persist": "rows are written again with their own timestamps; nobody is delivered to",
        "index": "inbox entries and heads rise; nobody is delivered to",
        "export": f"none; files in {plan.out}",
    }[plan.stage]
    rows = round(counts.rows / counts.sampled * counts.selected) if counts.sampled else 0
    typer.echo(
        f"  {plan.topic} {places}\n"
        f"  records            {counts.records:,}, of which {counts.selected:,} selected "
        f"({counts.selected_bytes:,} bytes) in {counts.conversations:,} conversations"
    )
    if plan.stage == "persist":
        typer.echo(f"  rows               about {rows:,} in keyspace {plan.keyspace}")
    if counts.sampled and plan.stage != "export":
        typer.echo(
            f"  there already      {share:.1%} of {counts.sampled:,} sampled; "
            f"undecodable {counts.undecodable:,}"
        )
    typer.echo(
        f"  effect             {effect}\n"
        "  live groups        untouched (own assignment, no commits)\n"
        f"  rate               {f'{plan.rate:,}/s' if plan.rate else 'no limit'} → {seconds}\n"
        f"  plan saved         {path}"
    )


def _say_progress(plan: Plan, progress: Progress) -> None:
    noun = {"persist": "rows written", "index": "messages indexed", "export": "lines written"}[plan.stage]
    speed = progress.read / progress.seconds if progress.seconds else 0
    typer.echo(
        f"{progress.state}: read {progress.read:,} · selected {progress.selected:,} · "
        f"{noun} {progress.effects:,} · failed {progress.failed:,} · {speed:,.0f} records/s"
    )
    for failure in progress.first_failures:
        typer.echo(f"  ✘ {failure}")
