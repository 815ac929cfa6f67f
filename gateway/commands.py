"""The command `im gateway`."""

from __future__ import annotations

import typer

__all__ = ["app"]

app = typer.Typer()


@app.command()
def gateway() -> None:
    """Run one gateway until SIGTERM, then let its clients go. Settings are IM_* variables.

    Example: IM_AUTH_SECRET=… IM_GATEWAY_ID=gw-2 IM_PORT=8081 im gateway
    """
    from gateway.process import GatewayProcess
    from infra.lifecycle import run_service
    from infra.settings import load_settings

    settings = load_settings()
    run_service(lambda: GatewayProcess(settings), settings.log_level)
