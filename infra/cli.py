"""The command `im`: gathers its subcommands and turns errors into one clear line.

Subcommands come from the entry-point group `im.commands`, so that this package needs none of those above it.
Each entry is a `typer.Typer`; its module imports nothing heavy before a command of its own runs. Those of
`im.commands.checkout` are not in the wheel: they are there if their file stands beside this package.
"""

from __future__ import annotations

import logging
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

import typer
from rich.console import Console

from schemas.errors import BadInput, ImError, SettingsError, Unavailable

__all__ = ["command", "exit_code", "main"]

COMMAND_GROUP: Final = "im.commands"
CHECKOUT_GROUP: Final = "im.commands.checkout"
ROOT: Final = Path(__file__).parents[1]
USAGE: Final = 2
UNREACHABLE: Final = 3
OTHER: Final = 1


def main() -> None:
    """Run the command line; exit 0, 1 (a finding), 2 (usage, settings) or 3 (something cannot be reached)."""
    # Libraries say nothing on a terminal; services set up their own log (`infra/lifecycle.py`).
    logging.basicConfig(level=logging.CRITICAL)
    try:
        command()(prog_name="im")
    except ImError as error:
        Console(stderr=True).print(f"✘ {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(exit_code(error))


def command() -> typer.Typer:
    """The whole command, out of every installed entry. Raises `SettingsError` when none is installed."""
    root = typer.Typer(
        help="Skein: an instant-messaging pipeline on Kafka, Redis and Cassandra.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    found = sorted(entry_points(group=COMMAND_GROUP), key=lambda entry: entry.name)
    if not found:
        raise SettingsError("the package is not installed → make setup")
    for entry in (*found, *filter(_is_here, entry_points(group=CHECKOUT_GROUP))):
        part = entry.load()
        root.registered_commands.extend(part.registered_commands)
        root.registered_groups.extend(part.registered_groups)
    return root


def _is_here(entry: EntryPoint) -> bool:
    return ROOT.joinpath(*entry.module.split(".")).with_suffix(".py").exists()


def exit_code(error: ImError) -> int:
    match error:
        case SettingsError() | BadInput():
            return USAGE
        case Unavailable():
            return UNREACHABLE
        case _:
            return OTHER


if __name__ == "__main__":
    main()
