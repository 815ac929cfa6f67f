"""Settings as the environment of a child process: what `load_settings` reads there is what was given here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from infra.settings import Settings

__all__ = ["child_environment"]


def child_environment(settings: Settings, inherited: Mapping[str, str]) -> dict[str, str]:
    """The inherited variables with every `IM_*` one replaced by the given settings; paths become absolute."""
    kept = {name: value for name, value in inherited.items() if not name.startswith("IM_")}
    given = {name: _text(value) for name, value in settings if value is not None}
    return kept | {f"IM_{name.upper()}": value for name, value in given.items()}


def _text(value: object) -> str:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case Path():
            return str(value.absolute())
        case _:
            return str(value)
