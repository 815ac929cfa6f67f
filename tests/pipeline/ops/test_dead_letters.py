"""pipeline/ops/dead_letters.py"""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest

from pipeline.batch import Buried
from pipeline.ops.dead_letters.letters import (
    DeadLetter,
    Filter,
    fold_audits,
    grouped,
    original_headers,
    parse_letter,
    stack_of,
)
from pipeline.stage import dead_letter
from schemas.errors import BadInput, ImError, Undecodable
from schemas.records import Audit
from tests.builders import a_record


def a_letter(stage: str = "moderation", offset: int = 7, error: ImError | None = None) -> DeadLetter:
    record = a_record(b"junk", offset, topic="im.inbound", headers=(("traceparent", b"00-1"),))
    out = dead_letter(stage, Buried(record, error or Undecodable("bad bytes")), 1_234)
    return parse_letter(a_record(out.value, 3, topic="im.dlq", headers=out.headers))


def an_audit(
    state: Literal["begun", "done", "failed"],
    details: object,
    action: str = "dlq.redrive",
    action_id: str = "a",
) -> Audit:
    return Audit(action_id, "ann", action, "im.dlq", state, msgspec.json.encode(details).decode(), 50)


def test_a_letter_says_where_its_record_was_and_why_it_failed() -> None:
    """What the stage wrote into the headers."""
    letter = a_letter()
    assert letter.id == "im.inbound[0]@7/moderation"
    assert (letter.error, letter.message) == ("Undecodable", "bad bytes")
    assert (letter.letter_offset, letter.failed_at_ms, letter.size_bytes) == (3, 1_234, 4)


def test_the_record_keeps_its_own_headers() -> None:
    """And nothing of ours goes with it when it is redriven."""
    record = a_record(b"junk", 7, headers=(("traceparent", b"00-1"),))
    out = dead_letter("moderation", Buried(record, Undecodable("bad")), 1)
    letter = a_record(out.value, 3, headers=out.headers)
    assert original_headers(letter) == (("traceparent", b"00-1"),)
    assert "Undecodable: bad" in stack_of(letter)


def test_a_record_somebody_else_put_into_the_topic_is_seen() -> None:
    """As a letter of no stage, never as an error."""
    letter = parse_letter(a_record(b"?", 9, topic="im.dlq"))
    assert (letter.id, letter.stage) == ("im.dlq[0]@9/", "")


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        (Filter(), True),
        (Filter(ids=("im.inbound[0]@7",)), True),
        (Filter(ids=("im.inbound[0]@7/moderation",)), True),
        (Filter(ids=("3",)), True),
        (Filter(ids=("7",)), False),
        (Filter(error="undeco"), True),
        (Filter(error="BAD bytes"), True),
        (Filter(error="timeout"), False),
        (Filter(stage="moderation", conversation="d:alice:bob"), True),
        (Filter(stage="fanout"), False),
        (Filter(conversation="g:tea"), False),
        (Filter(since_ms=1_234), True),
        (Filter(since_ms=1_235), False),
    ],
)
def test_filters_add_up(wanted: Filter, meant: bool) -> None:
    """A letter is meant if nothing that was asked speaks against it."""
    assert wanted.wants(a_letter()) is meant


def test_groups_are_by_stage_and_error_the_largest_first() -> None:
    """Each with an example, and from when to when."""
    letters = [a_letter(), a_letter("fanout"), a_letter(offset=8), a_letter(error=BadInput("no"))]
    groups = grouped(letters)
    assert [(g.stage, g.error, g.letters) for g in groups] == [
        ("moderation", "Undecodable", 2),
        ("fanout", "Undecodable", 1),
        ("moderation", "BadInput", 1),
    ]
    assert groups[0].example == "im.inbound[0]@7/moderation: bad bytes"


def test_what_is_done_is_done() -> None:
    """Unless the letter failed again; an action that only began leaves its letters unsure."""
    handled = fold_audits(
        [
            an_audit("begun", {"letters": ["a", "b"]}),
            an_audit("done", {"failed": ["b"]}),
            an_audit("begun", {"letters": ["c"]}, "dlq.skip", "2"),
            an_audit("done", {"skipped": 1}, "dlq.skip", "2"),
            an_audit("begun", {"letters": ["d", "a"]}, action_id="3"),
            an_audit("begun", {"letters": ["e"]}, action_id="4"),
            an_audit("failed", {"error": "no broker"}, action_id="4"),
            an_audit("begun", {"letters": ["x"]}, "replay.apply", "5"),
        ]
    )
    assert {name: outcome.how for name, outcome in handled.done.items()} == {"a": "redriven", "c": "skipped"}
    assert handled.unsure == {"d": 50, "e": 50}
