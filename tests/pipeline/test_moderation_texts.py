"""pipeline/moderation/texts.py"""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.moderation.texts import replace_texts, texts_of
from schemas.errors import Refused
from schemas.records import Kind


@pytest.mark.parametrize(
    ("kind", "content", "texts"),
    [
        ("text", {"text": "hi"}, ["hi"]),
        ("image", {"url": "u", "size_bytes": 1, "caption": "c"}, ["u", "c"]),
        ("custom", {"a": [{"b": "x"}, "y", 1, None, True]}, ["x", "y"]),
        ("edit", {"seq": 1, "content": {"text": "new"}}, ["new"]),
        ("reaction", {"seq": 1, "emoji": "!", "add": True}, ["!"]),
        ("group", {"action": "created", "by": "ann", "name": "Tea", "members": ["bob"]}, ["Tea"]),
        ("member", {"action": "joined", "by": "ann", "users": ["bob"]}, []),
        ("recall", {"seq": 1}, []),
    ],
)
def test_what_people_read_is_looked_at(kind: Kind, content: dict[str, Any], texts: list[str]) -> None:
    """Every string of what is said; in events the words, never ids and actions."""
    assert texts_of(kind, content) == texts
    replaced = json.loads(replace_texts(kind, content, lambda text: f"<{text}>"))
    assert texts_of(kind, replaced) == [f"<{text}>" for text in texts]


def test_everything_else_stays() -> None:
    """Ids in events, numbers of any size, letters of any script."""
    content = {"action": "created", "by": "ann", "name": "Tea", "members": ["bob"]}
    assert json.loads(replace_texts("group", content, str.upper)) == {**content, "name": "TEA"}
    assert replace_texts("custom", {"n": 2**80, "t": "я"}, str) == '{"n":1208925819614629174706176,"t":"я"}'


def test_content_nested_too_deeply_is_refused() -> None:
    """Nobody writes that, and nothing may run out of stack over it."""
    content: dict[str, Any] = {}
    for _ in range(70):
        content = {"a": content}
    with pytest.raises(Refused, match="deeper than 64"):
        texts_of("custom", content)
