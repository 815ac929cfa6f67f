"""What lies in im.dlq, and what was done about it: letters, filters, groups, a fold over im.audit. Pure.

A letter is known by what failed, not by its place in im.dlq: a stage that restarts may bury the same
record twice, and that is one letter. What was done about a letter is read from im.audit, where it
must be said anyway; so there is no second account that could differ.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Literal

import msgspec

from infra.ports import Record
from schemas.records import Audit

__all__ = [
    "REDRIVE",
    "REDRIVEN_HEADER",
    "SKIP",
    "DeadLetter",
    "Filter",
    "Group",
    "Handled",
    "Outcome",
    "fold_audits",
    "grouped",
    "original_headers",
    "parse_letter",
    "stack_of",
]

REDRIVE: Final = "dlq.redrive"
SKIP: Final = "dlq.skip"
REDRIVEN_HEADER: Final = "im-redriven"
"""On a record that was published again: the id of its letter."""

_REASON: Final = "__streams.errors."
_STAGE: Final = "im-stage"
_FAILED_AT: Final = "im-failed-at"


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """A record that a stage could not handle: where it came from, and why. Its bytes stay in im.dlq."""

    id: str
    """topic[partition]@offset/stage of what failed."""
    letter_offset: int
    """Its place in im.dlq."""
    stage: str
    topic: str
    partition: int
    offset: int
    error: str
    message: str
    failed_at_ms: int
    key: str
    size_bytes: int

    @property
    def order(self) -> tuple[str, int, int]:
        """The order it had where it came from."""
        return self.topic, self.partition, self.offset


def parse_letter(record: Record) -> DeadLetter:
    """A record of im.dlq. One without our headers is a letter of no stage: seen, but never redriven."""
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    stage = headers.get(_STAGE, "")
    topic = headers.get(f"{_REASON}topic", record.topic) if stage else record.topic
    partition = _number(headers.get(f"{_REASON}partition")) if stage else record.partition
    offset = _number(headers.get(f"{_REASON}offset")) if stage else record.offset
    return DeadLetter(
        id=f"{topic}[{partition}]@{offset}/{stage}",
        letter_offset=record.offset,
        stage=stage,
        topic=topic,
        partition=partition,
        offset=offset,
        error=headers.get(f"{_REASON}exception", "unknown"),
        message=headers.get(f"{_REASON}message", ""),
        failed_at_ms=_number(headers.get(_FAILED_AT)) or record.timestamp_ms,
        key=(record.key or b"").decode(errors="replace"),
        size_bytes=len(record.value or b""),
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0


def original_headers(record: Record) -> tuple[tuple[str, bytes], ...]:
    """The headers the record had before it was buried."""
    ours = (_STAGE, _FAILED_AT)
    return tuple((n, v) for n, v in record.headers if n not in ours and not n.startswith(_REASON))


def stack_of(record: Record) -> str:
    """The stack trace of the failure."""
    return dict(record.headers).get(f"{_REASON}stacktrace", b"").decode(errors="replace")


class Filter(msgspec.Struct, frozen=True):
    """Which letters are meant; what is empty says nothing."""

    ids: Collection[str] = ()
    """Ids, ids without their stage, or offsets in im.dlq."""
    error: str = ""
    """Part of the error's name or text, in any case."""
    stage: str = ""
    conversation: str = ""
    since_ms: int = 0

    def wants(self, letter: DeadLetter) -> bool:
        names = (letter.id, letter.id.partition("/")[0], str(letter.letter_offset))
        return (
            (not self.ids or any(name in self.ids for name in names))
            and (not self.stage or letter.stage == self.stage)
            and (not self.conversation or letter.key == self.conversation)
            and letter.failed_at_ms >= self.since_ms
            and self.error.lower() in f"{letter.error} {letter.message}".lower()
        )


class Group(msgspec.Struct, frozen=True):
    """Letters of one stage that failed alike."""

    stage: str
    error: str
    letters: int
    conversations: int
    oldest_ms: int
    newest_ms: int
    example: str
    """The text and the id of the oldest one."""


def grouped(letters: Iterable[DeadLetter]) -> list[Group]:
    """By stage and error, the largest group first."""
    found: dict[tuple[str, str], list[DeadLetter]] = {}
    for letter in letters:
        found.setdefault((letter.stage, letter.error), []).append(letter)
    groups = [
        Group(
            stage,
            error,
            len(members),
            len({letter.key for letter in members}),
            min(letter.failed_at_ms for letter in members),
            max(letter.failed_at_ms for letter in members),
            f"{members[0].id}: {members[0].message}",
        )
        for (stage, error), members in found.items()
    ]
    return sorted(groups, key=lambda group: -group.letters)


class Outcome(msgspec.Struct, frozen=True):
    """What became of a letter."""

    how: Literal["redriven", "skipped"]
    actor: str
    at_ms: int


class Handled(msgspec.Struct):
    """What operators did about letters, by id."""

    done: dict[str, Outcome] = {}
    unsure: dict[str, int] = {}
    """Begun at this time (ms), and never said to have ended: it may have happened."""


def fold_audits(audits: Iterable[Audit]) -> Handled:
    """Everything im.audit says about letters, oldest first."""
    handled = Handled()
    begun: dict[str, list[str]] = {}
    for audit in audits:
        if audit.action not in (REDRIVE, SKIP):
            continue
        if audit.state == "begun":
            begun[audit.action_id] = letters = msgspec.json.decode(audit.details)["letters"]
            handled.unsure.update({letter: audit.at_ms for letter in letters if letter not in handled.done})
        elif audit.state == "done":
            failed = set(msgspec.json.decode(audit.details).get("failed", ()))
            outcome = Outcome("skipped" if audit.action == SKIP else "redriven", audit.actor, audit.at_ms)
            for letter in begun.pop(audit.action_id, ()):
                handled.unsure.pop(letter, None)
                if letter not in failed:
                    handled.done[letter] = outcome
    return handled
