"""Frames as the published JSON Schema has them: every frame that a test client reads passes here."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, get_args

from jsonschema import Draft202012Validator

from schemas.contract import CONTRACT
from schemas.frames import ServerFrame

__all__ = ["check_server_frame"]


@cache
def _validator(frame_type: str) -> Draft202012Validator:
    schema = json.loads((CONTRACT / "frames.schema.json").read_text())
    names = {f.__struct_config__.tag: f.__name__ for f in get_args(ServerFrame)}
    return Draft202012Validator({"$ref": f"#/$defs/{names[frame_type]}", "$defs": schema["$defs"]})


def check_server_frame(frame: dict[str, Any]) -> None:
    """Raises `jsonschema.ValidationError` or `KeyError` for what the contract does not have."""
    _validator(frame["type"]).validate(frame)
