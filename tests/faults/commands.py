"""The command `im chaos`: there in a checkout, since what it runs is no part of the wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer()

EXIT = {"valid": 0, "invalid": 1, "unknown": 2}


@app.command()
def chaos(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long faults are injected.")] = 5.0,
    faults: Annotated[str, typer.Option(help="Kinds, with commas; default: all. `list` names them.")] = "",
    seed: Annotated[int, typer.Option(help="The same seed makes the same users, faults and targets.")] = 1,
    rate: Annotated[float, typer.Option(min=0.1, help="Deeds a second, of all users together.")] = 50.0,
    crowds: Annotated[
        int, typer.Option(min=1, help="Processes of 24 users each; one manages some 200 deeds a second.")
    ] = 1,
    calm: Annotated[float, typer.Option(min=0.1, help="Seconds without a fault between two, at most.")] = 6.0,
    report: Annotated[
        Path | None, typer.Option(help="Write it there too: .html, .json, or else Markdown.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where the history is left; default: a new temporary folder.")
    ] = None,
    minimum_ok: Annotated[int, typer.Option(help="Fewer good sends show too little.")] = 1_000,
) -> None:
    """Disturb a system of its own while people talk, then judge everything that happened.

    Engines, gateways and workers run on free ports with data of their own. Exit 0: every promise was kept;
    1: one was broken, or somebody was left without an answer; 2: the run shows too little. Ctrl-C heals what
    is disturbed and ends the run.

    Example: im chaos --minutes 5 --faults kill-worker,flush-redis --seed 7 --report chaos.html
    """
    import tempfile

    from rich.console import Console

    from infra.settings import load_settings
    from infra.stack.checks import raise_descriptor_limit
    from infra.stack.run import until_told
    from tests.faults.nemesis.catalogue import FAULTS, chosen
    from tests.faults.report import Summary, write_report
    from tests.faults.run import Order
    from tests.faults.watch import Bar, make_and_judge

    if faults == "list":
        typer.echo("\n".join(FAULTS))
        return
    raise_descriptor_limit()
    where = folder or Path(tempfile.mkdtemp(prefix="skein-chaos-"))
    kinds = tuple(chosen([name.strip() for name in faults.split(",") if name.strip()]))
    order = Order(minutes, seed, rate, where, kinds, crowds, calm)
    summaries: list[Summary] = []

    async def work() -> None:
        summaries.append(await make_and_judge(order, load_settings(), bar, minimum_ok))

    with Bar(Console(stderr=True), minutes) as bar:
        until_told(work())
    if not summaries:
        typer.echo(f"stopped; what there is of the history is in {where}")
        raise typer.Exit(EXIT["unknown"])
    [summary] = summaries
    for path in (where / "report.json", where / "report.html", *([report] if report else [])):
        write_report(summary, path)
    typer.echo(
        f"{summary.checked.verdict}: {summary.checked.counts['ok']} sends, {summary.faults} faults of "
        f"{len(summary.kinds)} kinds; history and report in {where}"
    )
    for remark in (*summary.checked.unknown, *summary.notes):
        typer.echo(f"  {remark}")
    raise typer.Exit(EXIT[summary.checked.verdict] or int(bool(summary.notes)))
