"""`im ledger`: run the audit, and show its account. Each command imports what it needs when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from infra.printing import FormOption

if TYPE_CHECKING:
    from infra.settings import Settings
    from pipeline.ops.accounts.audit import Account

__all__ = ["app"]

_NICENESS: Final = 10
"""Each round wants a processor for 0.2 s, and everybody who waits for a message would wait for it."""

app = typer.Typer(no_args_is_help=True)
ledger_app = typer.Typer(no_args_is_help=True, help="The books: everything accepted is accounted for.")
app.add_typer(ledger_app, name="ledger")


@ledger_app.command("run")
def run() -> None:
    """Keep the books until SIGTERM: a service beside the workers. `im run` starts it by itself.

    Two of it do no harm. It runs at a lower priority (nice 10). IM_WORKER_PORT serves its /metrics.
    """
    import os

    from infra.lifecycle import run_service
    from infra.settings import load_settings
    from pipeline.ops.accounts.ledger_service import LedgerService

    os.nice(_NICENESS)
    settings = load_settings()
    run_service(lambda: LedgerService(settings), settings.log_level)


@ledger_app.command("show")
def show(output: FormOption = None) -> None:
    """The newest account. Exit 1 if anything is unaccounted, or nobody keeps the books.

    [b]im ledger show -o json | jq .findings[/b]
    """
    import uvloop
    from rich.console import Console

    from infra.settings import load_settings
    from pipeline.ops.accounts.ledger_view import print_account

    account = uvloop.run(_read(load_settings()))
    if account is None:
        Console(stderr=True).print("✘ nobody keeps the books → im ledger run", style="red")
        raise typer.Exit(1)
    print_account(account, output)
    raise typer.Exit(int(account.total > 0))


async def _read(settings: Settings) -> Account | None:
    from infra.clock import SystemClock
    from infra.redis import RedisRouteTable
    from pipeline.ops.accounts.ledger_view import newest_account

    routes = RedisRouteTable(settings, SystemClock())
    await routes.startup()
    try:
        return await newest_account(routes)
    finally:
        await routes.shutdown()
