"""Log and history are compared field by field, and repeats are known by their client_msg_id."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.ops.accounts.contents import Uses, differences
from schemas.tables import HistoryRow
from tests.builders import a_message


def a_row(**fields: Any) -> HistoryRow:
    message = a_message()
    values = {name: getattr(message, name) for name in HistoryRow.__struct_fields__ if hasattr(message, name)}
    return HistoryRow(**(values | fields))


def test_the_same_message_differs_in_nothing() -> None:
    """A row that was written from the message is the same."""
    assert differences(a_message(), a_row()) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("message_id", "other"), ("sender", "eve"), ("content", "{}"), ("sent_at_ms", 1), ("mentions", ["eve"])],
)
def test_every_field_is_compared(field: str, value: object) -> None:
    """Whatever differs is named."""
    assert differences(a_message(), a_row(**{field: value})) == [field]


def test_an_edit_changes_the_content_only() -> None:
    """After an edit or a recall the content is not compared; everything else is."""
    assert differences(a_message(), a_row(content="{}", recalled=True)) == []
    assert differences(a_message(), a_row(content="{}", edited_at_ms=5, sender="eve")) == ["sender"]


def test_a_second_place_inside_the_window_is_a_double() -> None:
    """The first place is named with the double; another conversation or a later time is none."""
    uses = Uses(window_ms=1_000)
    first, second, elsewhere, later = (
        a_message(1, sent_at_ms=10),
        a_message(2, sent_at_ms=1_010),
        a_message(1, sent_at_ms=1_010, conversation_id="g:tea"),
        a_message(3, sent_at_ms=1_011),
    )
    assert uses.doubles([first, second]) == [(second, 1)]
    assert uses.doubles([elsewhere]) == []
    assert uses.doubles([later]) == []
