"""The commands of the pipeline: `im worker` and `im tap`."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)


@app.command()
def worker(
    stages: Annotated[list[str] | None, typer.Argument(help="Stages to run; all of them if none is named.")] = None,
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
