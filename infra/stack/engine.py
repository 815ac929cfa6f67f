"""What the stack needs to know about an engine to run it, and the three it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Final

from infra.stack.addresses import Address
from infra.stack.jars import FILES
from infra.stack.process import ChildSpec, run_to_end

__all__ = ["Engine", "Preparation", "render", "run_preparation", "write_files"]

PREPARE_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Preparation:
    """A command that makes an empty data folder usable; it has been done if `done` exists."""

    argv: tuple[str, ...]
    done: Path


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine on this machine: its files, the command that runs it, the address it serves."""

    label: str
    address: Address
    child: ChildSpec
    files: Mapping[Path, str] = field(default_factory=dict)
    """Written at each start, so that a changed setting or a new release takes effect."""
    folders: tuple[Path, ...] = ()
    preparation: Preparation | None = None


def render(name: str, **values: object) -> str:
    """The configuration file of that name with its `$placeholders` filled in; each must have a value."""
    return Template((FILES / name).read_text()).substitute({key: str(value) for key, value in values.items()})


def write_files(engine: Engine) -> None:
    for folder in engine.folders:
        folder.mkdir(parents=True, exist_ok=True)
    for path, text in engine.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


async def run_preparation(engine: Engine) -> None:
    """Prepare an empty data folder; a kept one is left alone. Raises `Unavailable` with the output."""
    todo = engine.preparation
    if todo is not None and not todo.done.exists():
        await run_to_end(f"preparing {engine.child.name}", todo.argv, engine.child.log, PREPARE_TIMEOUT_S)
