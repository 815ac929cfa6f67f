"""`im trace`: what became of one message."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.printing import FormOption

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)


@app.command()
def trace(
    message_id: Annotated[str, typer.Argument(help="As `sent` and `deliver` name it.")],
    conversation: Annotated[
        str | None, typer.Option(help="Its conversation, if known: one partition to look in.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="Only whether it reached this user.")] = None,
    output: FormOption = None,
) -> None:
    """Every hop of a message, and for each member whether it arrived, or why not.

    Works for any message of the last week, sampled or not, while the system runs: bounded reads beside
    the groups. Exit 1 if it is lost, unknown, or overdue at somebody who is connected.

    [b]im trace 01937c3e-8f10-7c4e-9b1a-5d0f6f2b9a11 --to bob[/b]
    """
    import uvloop
    from rich.console import Console

    from infra.printing import Form, chosen, print_value
    from infra.settings import load_settings
    from pipeline.ops.doors import open_doors
    from pipeline.ops.traces.trace import Trace, trace_of
    from pipeline.ops.traces.trace_reader import gather
    from pipeline.ops.traces.trace_view import print_trace

    async def run() -> Trace:
        async with open_doors(load_settings(), "bus", "routes", "history") as doors:
            return trace_of(await gather(doors, message_id, conversation, to))

    found = uvloop.run(run())
    form = chosen(output)
    if form is Form.TABLE:
        print_trace(found, Console())
    else:
        print_value(found, form)
    raise typer.Exit(int(found.is_finding))
