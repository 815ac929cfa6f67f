"""The texts inside a message's content: every string that people will read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from schemas.codes import Code
from schemas.errors import Refused
from schemas.records import Kind

__all__ = ["replace_texts", "texts_of"]

_MAX_DEPTH: Final = 64
_EVERYTHING: Final = None
_READ_BY_PEOPLE: Final[dict[Kind, tuple[str, ...] | None]] = {
    "recall": (),
    "edit": ("content",),
    "reaction": ("emoji",),
    "member": (),
    "group": ("name",),
}
"""Fields to look at, by kind: ids and actions in an event are no text. Kinds that are not here: all of it."""


def texts_of(kind: Kind, content: dict[str, Any]) -> Sequence[str]:
    """Every string value that is read by people. Raises `Refused` for content nested deeper than 64."""
    found: list[str] = []

    def keep(text: str) -> str:
        found.append(text)
        return text

    _replace(content, keep, _READ_BY_PEOPLE.get(kind, _EVERYTHING), _MAX_DEPTH)
    return found


def replace_texts(kind: Kind, content: dict[str, Any], replace: Callable[[str], str]) -> str:
    """The content as JSON, with each of these strings replaced."""
    changed = _replace(content, replace, _READ_BY_PEOPLE.get(kind, _EVERYTHING), _MAX_DEPTH)
    # Not msgspec: a number beyond 64 bits must pass as it came.
    return json.dumps(changed, ensure_ascii=False, separators=(",", ":"))


def _replace(value: Any, replace: Callable[[str], str], fields: tuple[str, ...] | None, depth: int) -> Any:
    if isinstance(value, str):
        return replace(value)
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        raise Refused(Code.BAD_FRAME, f"content is nested deeper than {_MAX_DEPTH}")
    if isinstance(value, list):
        return [_replace(item, replace, _EVERYTHING, depth - 1) for item in value]
    return {
        name: _replace(item, replace, _EVERYTHING, depth - 1) if fields is None or name in fields else item
        for name, item in value.items()
    }
