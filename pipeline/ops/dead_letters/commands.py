"""`im dlq`: look at dead letters, redrive them, or give them up. Each imports what it needs when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.printing import FormOption

if TYPE_CHECKING:
    from pipeline.ops.dead_letters.box import Shown
    from pipeline.ops.dead_letters.letters import DeadLetter, Filter, Handled

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)
dlq = typer.Typer(no_args_is_help=True, help="Dead letters: what no stage could handle, and why.")
app.add_typer(dlq, name="dlq")

Ids = Annotated[
    list[str] | None,
    typer.Argument(help="topic\\[partition]@offset of what failed, or its offset in im.dlq."),
]
Error = Annotated[str, typer.Option(help="Part of the error's name or text.")]
Stage = Annotated[str, typer.Option(help="moderation, sequencing, fanout, persistence or receipts.")]
Conversation = Annotated[str, typer.Option(help="Only of this conversation.")]
Since = Annotated[str, typer.Option(help="Failed since then: 10m, 2h, or ms since 1970.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it. Without it you are told what would happen.")]


@dlq.command("list")
def list_letters(
    error: Error = "",
    stage: Stage = "",
    conversation: Conversation = "",
    since: Since = "",
    each: Annotated[bool, typer.Option(help="One row for each letter instead of each kind.")] = False,
    handled: Annotated[bool, typer.Option(help="Also those that were redriven or skipped.")] = False,
    output: FormOption = None,
) -> None:
    """Dead letters by stage and error, the most frequent first.

    [b]im dlq list --stage moderation --since 1h --each -o ndjson | jq -r .id[/b]
    """
    import msgspec
    import uvloop

    from infra.printing import Form, chosen, print_rows, table_of
    from infra.settings import load_settings
    from pipeline.ops.dead_letters.box import select, state_of
    from pipeline.ops.dead_letters.letters import grouped
    from pipeline.ops.doors import open_doors

    wanted = _filter((), error, stage, conversation, since)

    async def read() -> tuple[list[DeadLetter], Handled]:
        async with open_doors(load_settings(), "bus") as doors:
            return await select(doors.bus, wanted)

    letters, done = uvloop.run(read())
    letters = [letter for letter in letters if handled or letter.id not in done.done]
    rows: list[dict[str, Any]]
    if each:
        shown = ("id", "letter_offset", "key", "error", "message", "failed_at_ms", "size_bytes")
        rows = [
            {"state": state_of(letter, done), **{name: getattr(letter, name) for name in shown}}
            for letter in letters
        ]
    else:
        rows = [msgspec.structs.asdict(group) for group in grouped(letters)]
    columns = [{name: value for name, value in row.items() if name != "example"} for row in rows]
    print_rows(rows, output, table_of(columns, "Dead letters" if handled else "Open dead letters"))
    if chosen(output) is Form.TABLE and not each:
        for row in rows:
            typer.echo(f"  e.g. {row['example']}")


@dlq.command("show")
def show_letter(
    name: Annotated[str, typer.Argument(help="topic\\[partition]@offset, or its offset in im.dlq.")],
    output: FormOption = None,
) -> None:
    """One letter in full: headers, payload as far as it can be decoded, and where the code gave up.

    [b]im dlq show 'im.inbound\\[0]@90211'[/b]
    """
    import uvloop

    from infra.printing import Form, chosen, print_rows, table_of
    from infra.settings import load_settings
    from pipeline.ops.dead_letters.box import show
    from pipeline.ops.doors import open_doors

    async def read() -> list[Shown]:
        async with open_doors(load_settings(), "bus") as doors:
            return await show(doors.bus, name)

    found = uvloop.run(read())
    if chosen(output) is Form.TABLE:
        for shown in found:
            _print_shown(shown)
    else:
        print_rows(found, output, table_of([]))


@dlq.command("redrive")
def redrive_letters(
    ids: Ids = None,
    error: Error = "",
    stage: Stage = "",
    conversation: Conversation = "",
    since: Since = "",
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
) -> None:
    """Give open dead letters to their stage again, in their order. Exit 1 if one failed again.

    What that means differs by stage (pipeline/ops/README.md); without --yes it is only said. What was
    redriven once is never redriven again.

    [b]im dlq redrive --stage persistence --error Undecodable --yes[/b]
    """
    import uvloop
    from rich.console import Console
    from rich.progress import Progress

    from infra.audit import operator_name
    from infra.printing import counted
    from infra.settings import load_settings
    from pipeline.ops.dead_letters.box import open_letters
    from pipeline.ops.dead_letters.redrive import Redriven, redrive
    from pipeline.ops.doors import open_doors

    wanted = _filter(ids or (), error, stage, conversation, since)
    going = yes and not dry_run

    async def run() -> Redriven | None:
        async with open_doors(load_settings(), "bus", "routes", "history") as doors:
            letters, handled = await open_letters(doors.bus, wanted)
            _say_effects(letters, handled)
            if not going or not letters:
                return None
            with Progress(console=Console(stderr=True)) as progress:
                task = progress.add_task("Redriving", total=len(letters))
                return await redrive(
                    doors,
                    operator_name(),
                    letters,
                    handled,
                    lambda count: progress.advance(task, count),
                )

    outcome = uvloop.run(run())
    if outcome is None:
        typer.echo("nothing was changed" if going else "nothing was changed: --yes does it")
        return
    typer.echo(
        f"redriven {outcome.redriven:,} · published by an earlier redrive {outcome.already:,} · "
        f"failed again {len(outcome.failed):,}"
    )
    for name, why in list(outcome.failed.items())[:20]:
        typer.echo(f"  ✘ {name}: {why}")
    if outcome.failed:
        typer.echo(f"  {counted(len(outcome.failed), 'letter')} stay open", err=True)
        raise typer.Exit(1)


@dlq.command("skip")
def skip_letters(
    reason: Annotated[str, typer.Option(help="Why they are given up; kept on im.audit.")],
    ids: Ids = None,
    error: Error = "",
    stage: Stage = "",
    conversation: Conversation = "",
    since: Since = "",
    yes: Yes = False,
) -> None:
    """Give open dead letters up: they are no longer listed or redriven. Their bytes stay in im.dlq.

    [b]im dlq skip --stage receipts --reason "sent by a broken test client" --yes[/b]
    """
    import uvloop

    from infra.audit import operator_name
    from infra.printing import counted
    from infra.settings import load_settings
    from pipeline.ops.dead_letters.box import open_letters
    from pipeline.ops.dead_letters.redrive import skip
    from pipeline.ops.doors import open_doors

    wanted = _filter(ids or (), error, stage, conversation, since)

    async def run() -> int:
        async with open_doors(load_settings(), "bus") as doors:
            letters, _ = await open_letters(doors.bus, wanted)
            return await skip(doors, operator_name(), letters, reason) if yes else len(letters)

    count = uvloop.run(run())
    typer.echo(f"{'skipped' if yes else 'would skip'} {counted(count, 'letter')}")
    if not yes:
        typer.echo("nothing was changed: --yes does it")


def _filter(ids: list[str] | tuple[()], error: str, stage: str, conversation: str, since: str) -> Filter:
    from infra.clock import SystemClock
    from pipeline.ops.dead_letters.letters import Filter
    from pipeline.tap import parse_since_ms
    from pipeline.topology import stages_named

    stages_named([stage] if stage else [])
    since_ms = parse_since_ms(since, SystemClock().now_ms()) if since else 0
    return Filter(frozenset(ids), error, stage, conversation, since_ms)


def _say_effects(letters: list[DeadLetter], handled: Handled) -> None:
    """What redriving these would do, stage by stage."""
    from collections import Counter

    from infra.printing import counted
    from pipeline.ops.dead_letters.redrive import EFFECTS

    for stage, count in Counter(letter.stage for letter in letters).items():
        effect = EFFECTS.get(stage, "none of our stages has buried them: they stay")
        keys = len({letter.key for letter in letters if letter.stage == stage})
        typer.echo(
            f"{stage or '?':<12} {counted(count, 'letter')} of {counted(keys, 'conversation')} → {effect}",
            err=True,
        )
    unsure = sum(letter.id in handled.unsure for letter in letters)
    if unsure:
        typer.echo(f"{counted(unsure, 'letter')} of a redrive that was cut short: looked up first", err=True)


def _print_shown(shown: Shown) -> None:
    import msgspec
    from rich.console import Console
    from rich.markup import escape

    from infra.printing import clock_time

    console, letter = Console(soft_wrap=True, highlight=False), shown.letter
    console.print(f"[b]{escape(letter.id)}[/b]  {escape(shown.state)}", emoji=False)
    console.print(f"  {escape(letter.error)}: {escape(letter.message)}", emoji=False)
    console.print(
        f"  failed {clock_time(letter.failed_at_ms)} UTC · key {escape(letter.key)} · "
        f"{letter.size_bytes:,} bytes · im.dlq@{letter.letter_offset}",
        emoji=False,
    )
    console.print("[b]payload[/b]")
    if shown.payload is not None:
        console.print(escape(msgspec.json.format(msgspec.json.encode(shown.payload)).decode()), emoji=False)
    else:
        console.print(f"  cannot be decoded: {escape(shown.undecodable)}", emoji=False)
        for line in shown.dump:
            console.print(f"  {escape(line)}", emoji=False)
    console.print("[b]headers[/b]")
    for name, value in shown.headers.items():
        if name != "__streams.errors.stacktrace":
            console.print(f"  {escape(name)}: {escape(value)}", emoji=False)
    console.print("[b]stack[/b]")
    console.print(escape(shown.stack), emoji=False)
