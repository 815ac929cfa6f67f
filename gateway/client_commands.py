"""The commands of a client: send, chat, bench.

Outside `gateway/client`, because they mint tokens with the service's secret, which no client has.
Everything heavy is imported by the command that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gateway.client.load.report import Environment, Report

__all__ = ["app"]

app = typer.Typer()

Url = Annotated[
    str | None, typer.Option("--url", help="A gateway; default: the one that IM_HOST, IM_PORT name.")
]
Token = Annotated[
    str | None, typer.Option("--token", help="A JWT; default: one minted with the kept secret.")
]
As = Annotated[str, typer.Option("--as", help="Who sends, when the token is minted.")]


class Scenario(StrEnum):
    """What `im bench` does."""

    PAIRS = "pairs"
    GROUP = "group"
    IDLE = "idle"
    STORM = "storm"


@app.command()
def send(
    conversation: Annotated[
        str, typer.Argument(help="A user, or a conversation id like d:alice:bob or g:team.")
    ],
    text: str,
    user: As = "alice",
    url: Url = None,
    token: Token = None,
    trace: Annotated[bool, typer.Option("--trace", help="Trace it, whatever IM_TRACE_RATIO says.")] = False,
) -> None:
    """Send one message and wait for its place.

    Example: im send bob "hello" --as alice

    With --trace it goes over HTTP, with a traceparent of its own; where spans go is IM_OTLP_ENDPOINT's
    or IM_ZIPKIN_ENDPOINT's matter, in the settings of the gateways and workers.
    """
    import asyncio

    from gateway.client.client import Client

    if trace:
        from gateway.traced_send import send_traced

        whole = _conversation(conversation, user)
        traced = asyncio.run(send_traced(_url(url), token or _minter()(user), whole, text))
        typer.echo(f"{traced.conversation_id} #{traced.seq} {traced.message_id} trace {traced.trace_id}")
        return

    async def deliver() -> None:
        async with Client(_url(url), token or _minter()(user), platform="server") as client:
            sent = await (await client.send(_conversation(conversation, client.user_id), text)).sent()
            typer.echo(f"{sent.conversation_id} #{sent.seq} {sent.message_id}")

    asyncio.run(deliver())


@app.command()
def chat(
    conversation: Annotated[
        str, typer.Argument(help="A user, or a conversation id like d:alice:bob or g:team.")
    ],
    user: As = "alice",
    url: Url = None,
    token: Token = None,
    outbox: Annotated[Path | None, typer.Option(help="Keep unsent messages in this file.")] = None,
) -> None:
    """Talk in the terminal: what others say appears, each line you type is sent; Ctrl-D ends it.

    Example: im chat bob --as alice
    """
    import asyncio
    from functools import partial

    from rich.console import Console

    from gateway.client.client import Client
    from gateway.client.terminal import talk

    async def run() -> None:
        client = Client(_url(url), token or _minter()(user), outbox_path=outbox)
        async with client:
            show = partial(Console().print, markup=False, highlight=False, soft_wrap=True)
            await talk(client, _conversation(conversation, client.user_id), show)

    asyncio.run(run())


@app.command()
def bench(
    scenario: Annotated[Scenario, typer.Argument(help="What to do.")] = Scenario.PAIRS,
    url: Url = None,
    rate: Annotated[float, typer.Option(min=0.1, max=1_000_000, help="Messages a second in all.")] = 100.0,
    pairs: Annotated[int, typer.Option(min=1, max=20_000, help="pairs: conversations of two.")] = 50,
    members: Annotated[int, typer.Option(min=2, max=20_000, help="group: connected members.")] = 1_000,
    senders: Annotated[int, typer.Option(min=1, max=1_000, help="group: members that send.")] = 10,
    connections: Annotated[int, typer.Option(min=1, max=28_000, help="idle, storm: connections.")] = 10_000,
    seconds: Annotated[float, typer.Option(min=1, max=3_600, help="How long it is measured.")] = 10.0,
    warmup: Annotated[float, typer.Option(min=0, max=600, help="Seconds of load before that.")] = 3.0,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Processes that make the load.")] = 1,
    find_max: Annotated[
        bool, typer.Option("--find-max", help="pairs: raise the rate until it does not hold.")
    ] = False,
    overload: Annotated[
        bool,
        typer.Option("--overload", help="pairs: the rate is too much on purpose; judge what is accepted."),
    ] = False,
    pid: Annotated[
        list[int] | None, typer.Option(help="Processes to charge; default: the local system's.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Write the latency curves.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything as JSON.")] = None,
) -> None:
    """Load a running system and say how long messages took. Exit 1 if one was lost, repeated or reordered.

    An open model: a message is due at its instant and its latency counts from then, so no stall is hidden.

    Example: im bench pairs --pairs 200 --rate 5000 --processes 2 --report out.html
    """
    import secrets

    from rich.console import Console

    from gateway.client.load.scenarios import Bench, Target
    from gateway.client.load.table import table_of

    address = _url(url)
    target = Target(
        url=address,
        mint=_minter(),
        run=secrets.token_hex(4),
        environment=_environment(address),
        processes=processes,
        pids=tuple(pid or ()),
        warmup_s=warmup,
        measured_s=seconds,
        overload=overload,
    )
    load = Bench(target)
    match scenario:
        case Scenario.PAIRS if find_max:
            reports = load.find_max(pairs, rate)
        case Scenario.PAIRS:
            reports = [load.pairs(pairs, rate)]
        case Scenario.GROUP:
            reports = [load.group(members, rate, min(senders, members))]
        case Scenario.IDLE:
            reports = [load.idle(connections)]
        case Scenario.STORM:
            reports = [load.storm(connections)]
    console = Console()
    for each in reports:
        console.print(table_of(each))
    if find_max:
        held = [each.parameters["messages_per_s"] for each in reports if each.passed]
        console.print(f"highest rate that held: {max(held, default=0):g} messages/s", style="bold")
    _write(reports, report, svg, json)
    if not reports[0].passed:
        raise typer.Exit(1)


def _url(given: str | None) -> str:
    from infra.settings import load_settings

    settings = load_settings()
    return given or f"http://{settings.host}:{settings.port}"


def _minter() -> Callable[[str], str]:
    """Makes tokens with IM_AUTH_SECRET or the secret that `im run` kept."""
    import time

    from infra.settings import load_settings
    from infra.stack.secret import known_secret
    from infra.tokens import mint_for

    settings, now_s = load_settings(), int(time.time())
    secret = known_secret(settings)
    return lambda user: mint_for(settings, secret, user, now_s=now_s)


def _conversation(named: str, user: str) -> str:
    """The id that was given, or the direct conversation with the user that was given."""
    from schemas.errors import BadInput
    from schemas.ids import conversation_kind, direct_conversation, is_name

    if ":" not in named and is_name(named):
        if named == user:
            raise BadInput(f"{user} cannot write to {user}; --as says who writes")
        return direct_conversation(user, named)
    conversation_kind(named)
    return named


def _environment(url: str) -> Environment:
    """What a reader needs to compare figures."""
    import os
    import platform
    import shutil
    import subprocess
    from datetime import UTC, datetime

    import psutil

    from gateway.client.load.report import Environment

    commit = "unknown"
    if shutil.which("git"):
        described = subprocess.run(
            ("git", "describe", "--always", "--dirty"),
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parent,
        )
        commit = described.stdout.strip() or commit
    return Environment(
        cores=os.cpu_count() or 1,
        memory_gib=psutil.virtual_memory().total / 2**30,
        python=platform.python_version(),
        commit=commit,
        url=url,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _write(reports: list[Report], html: Path | None, svg: Path | None, as_json: Path | None) -> None:
    if html is not None:
        from gateway.client.load.page import write_html

        write_html(reports, html)
    if svg is not None:
        from gateway.client.load.figure import write_svg

        write_svg(reports[-1], svg)
    if as_json is not None:
        import msgspec

        as_json.write_bytes(msgspec.json.format(msgspec.json.encode([each.as_json() for each in reports])))
