"""`im verify`: prove that nothing of a stretch of time is missing or double."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.printing import FormOption

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)


@app.command()
def verify(
    window: Annotated[str, typer.Option(help="How far back: 90s, 10m, 1h, 2d, or ms since 1970.")] = "1h",
    until: Annotated[str, typer.Option(help="Where the window ends, counted back from now: 5m.")] = "",
    conversation: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    output: FormOption = None,
) -> None:
    """Compare log, history and cursors, message by message, while the system runs. Exit 1 on a finding.

    Names each message that is missing or double, each hole in a conversation's seqs, each row that is not
    what the log says, each cursor beyond the newest message.

    [b]im verify --window 1h -o ndjson | jq .place[/b]
    """
    import uvloop
    from rich.console import Console

    from infra.clock import SystemClock
    from infra.printing import Form, chosen, print_rows, print_value
    from infra.settings import load_settings
    from pipeline.ops.accounts.ledger_view import findings_table, verification_text
    from pipeline.ops.accounts.verify import Verification
    from pipeline.ops.accounts.verify import verify as verify_all
    from pipeline.ops.doors import open_doors
    from pipeline.tap import parse_since_ms

    now_ms = SystemClock().now_ms()
    since_ms = parse_since_ms(window, now_ms)
    until_ms = parse_since_ms(until, now_ms) if until else now_ms

    async def run() -> Verification:
        async with open_doors(load_settings(), "bus", "routes", "history") as doors:
            return await verify_all(doors, since_ms, until_ms, conversation)

    found = uvloop.run(run())
    if chosen(output) is Form.JSON:
        print_value(found, Form.JSON)
    else:
        if found.findings:
            print_rows(found.findings, output, findings_table(found.findings))
        Console(stderr=True).print(verification_text(found), highlight=False, soft_wrap=True)
    raise typer.Exit(int(bool(found.findings)))
