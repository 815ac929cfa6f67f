"""The command `im top`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from infra.printing import FormOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.settings import Settings
    from pipeline.ops.top.figures import Top

__all__ = ["app"]

app = typer.Typer()


@app.command()
def top(
    interval: Annotated[float, typer.Option(min=0.2, max=3_600, help="Seconds between looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="One interval, then end.")] = False,
    output: FormOption = None,
) -> None:
    """Every stage, gateway and consumer group, live: rates, times, lag, errors. Ctrl-C ends it.

    With --once, exit 1 if a stage is run by nobody, a process is silent, an engine away, a gateway not
    ready, or a message unaccounted for.

    Example: im top --once --interval 10 -o json | jq .stages
    """
    from contextlib import suppress

    import uvloop

    from infra.printing import Form, chosen, print_value
    from infra.settings import load_settings

    form = chosen(output)
    settings = load_settings()
    if form is Form.TABLE:
        found = _on_screen(settings, interval, once)
    else:

        def show(figures: Top) -> None:
            print_value(figures, form)

        found = None
        with suppress(KeyboardInterrupt, BrokenPipeError):
            found = uvloop.run(_follow(settings, interval, once, show))
    if once and found is not None:
        raise typer.Exit(int(not _well(found)))


def _on_screen(settings: Settings, interval_s: float, once: bool) -> Top | None:
    from contextlib import suppress

    import uvloop
    from rich.console import Console
    from rich.live import Live

    from pipeline.ops.top.view import page_of

    console = Console()
    if once:
        return uvloop.run(_follow(settings, interval_s, once, lambda top: console.print(page_of(top))))
    with suppress(KeyboardInterrupt), Live(console=console, screen=True, auto_refresh=False) as live:
        uvloop.run(_follow(settings, interval_s, once, lambda top: live.update(page_of(top), refresh=True)))
    return None


async def _follow(settings: Settings, interval_s: float, once: bool, show: Callable[[Top], None]) -> Top:
    """Show the figures of each interval; returns the last ones."""
    from contextlib import aclosing

    from pipeline.ops.top.looker import open_looker

    async with open_looker(settings) as looker, aclosing(looker.tops(interval_s)) as tops:
        async for figures in tops:
            show(figures)
            if once:
                return figures
    raise AssertionError("looking has no end")


def _well(figures: Top) -> bool:
    return (
        not (figures.silent or figures.away)
        and all(stage.workers for stage in figures.stages)
        and all(gateway.ready for gateway in figures.gateways)
        and not any(figures.unaccounted.values())
    )
