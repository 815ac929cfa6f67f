"""im.dlq as operators see it: every letter once, with what was done about it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import orjson

from infra.ports import Bus, Record
from pipeline import tap
from pipeline.ops.dead_letters.letters import DeadLetter, Filter, Handled, fold_audits, parse_letter, stack_of
from schemas.codec import AUDIT
from schemas.errors import BadInput, Undecodable
from schemas.records import Audit
from schemas.topics import AUDIT as AUDIT_TOPIC
from schemas.topics import DEAD_LETTERS

__all__ = ["Shown", "hex_dump", "open_letters", "read_handled", "records_at", "select", "show", "state_of"]

_DUMP_BYTES: Final = 256
_DUMP_WIDTH: Final = 16
_CLOCKS_MS: Final = 3_600_000
"""How far the clocks of workers and operators may differ."""


class Shown(msgspec.Struct, frozen=True):
    """One letter in full."""

    letter: DeadLetter
    state: str
    headers: dict[str, str]
    payload: dict[str, Any] | None
    """What can be decoded now; None: not even its shape."""
    undecodable: str
    """Why not."""
    dump: list[str]
    """The start of the bytes, in hex and as text, if nothing can be decoded."""
    stack: str


async def select(bus: Bus, wanted: Filter) -> tuple[list[DeadLetter], Handled]:
    """Every letter that is meant, each record that failed once, in the order of im.dlq; what was done."""
    letters: dict[str, DeadLetter] = {}
    async for record in _letters(bus, wanted.since_ms):
        letter = parse_letter(record)
        if wanted.wants(letter):
            letters.setdefault(letter.id, letter)
    return list(letters.values()), await read_handled(bus)


async def open_letters(bus: Bus, wanted: Filter) -> tuple[list[DeadLetter], Handled]:
    """Those about which nothing was done yet, in the order their records had where they came from."""
    letters, handled = await select(bus, wanted)
    return sorted((it for it in letters if it.id not in handled.done), key=lambda it: it.order), handled


async def records_at(bus: Bus, letter_offsets: Collection[int]) -> dict[int, Record]:
    """The records of im.dlq at these offsets; one that has expired is missing."""
    found: dict[int, Record] = {}
    if letter_offsets:
        async with bus.scan(DEAD_LETTERS, 0, min(letter_offsets), max(letter_offsets) + 1) as runs:
            async for records in runs:
                found.update({r.offset: r for r in records if r.offset in letter_offsets})
    return found


async def show(bus: Bus, name: str) -> list[Shown]:
    """The letter of that id or offset in im.dlq; several if several stages failed. Raises `BadInput`."""
    letters, handled = await select(bus, Filter(ids=(name,)))
    if not letters:
        raise BadInput(f"no dead letter is called {name}: a topic[partition]@offset, or an offset in im.dlq")
    records = await records_at(bus, {letter.letter_offset for letter in letters})
    return [_shown(letter, records[letter.letter_offset], handled) for letter in letters]


async def read_handled(bus: Bus) -> Handled:
    """What im.audit says about letters that can still be there."""
    start = await _audits_from(bus)
    audits: list[Audit] = []

    def take(records: Sequence[Record]) -> None:
        for record in records:
            with suppress(Undecodable):  # a newer release may say what this one cannot read
                audits.append(AUDIT.decode(record.value))

    await bus.read_range(AUDIT_TOPIC, 0, start, None, take)
    return fold_audits(audits)


async def _audits_from(bus: Bus) -> int:
    """Where im.audit stands at the time of the oldest letter: nothing before it speaks of any."""
    async with bus.scan(DEAD_LETTERS, 0, 0, (await bus.beginnings(DEAD_LETTERS))[0] + 1) as runs:
        async for records in runs:
            return await bus.offsets_at(AUDIT_TOPIC, 0, records[0].timestamp_ms - _CLOCKS_MS)
    return (await bus.ends(AUDIT_TOPIC))[0]


async def _letters(bus: Bus, since_ms: int) -> AsyncIterator[Record]:
    start = await bus.offsets_at(DEAD_LETTERS, 0, since_ms)
    async with bus.scan(DEAD_LETTERS, 0, start, (await bus.ends(DEAD_LETTERS))[0]) as runs:
        async for records in runs:
            for record in records:
                yield record


def _shown(letter: DeadLetter, record: Record, handled: Handled) -> Shown:
    payload, reason = None, ""
    try:
        payload = tap.decoded(msgspec.structs.replace(record, topic=letter.topic))
    except (Undecodable, orjson.JSONDecodeError) as error:
        reason = str(error)
    return Shown(
        letter=letter,
        state=state_of(letter, handled),
        headers={name: value.decode(errors="replace") for name, value in record.headers},
        payload=payload,
        undecodable=reason,
        dump=[] if payload is not None else hex_dump(record.value or b""),
        stack=stack_of(record),
    )


def state_of(letter: DeadLetter, handled: Handled) -> str:
    """open, unsure (a redrive was cut short), redriven or skipped, by whom."""
    outcome = handled.done.get(letter.id)
    if outcome is not None:
        return f"{outcome.how} by {outcome.actor}"
    return "unsure" if letter.id in handled.unsure else "open"


def hex_dump(value: bytes) -> list[str]:
    """The first 256 bytes, 16 a line."""
    lines = []
    for at in range(0, min(len(value), _DUMP_BYTES), _DUMP_WIDTH):
        part = value[at : at + _DUMP_WIDTH]
        text = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in part)
        lines.append(f"{at:08x}  {part.hex(' '):<47}  {text}")
    return lines
