"""im.places: what sequencing has placed lately, in columns, so that a restart need not read it all again.

Sequencing writes one record about every second, after the messages in it are in the log. It is an
index and never the truth: whoever recovers checks that the runs follow one another and reach back
far enough, and reads the log itself where they don't. Two workers that write the same run write the
same, so repeats are harmless. Reading an entry costs a seventh of reading its message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from infra.ports import Bus, Outgoing, Record
from infra.together import together
from pipeline.dedupe import Key
from pipeline.sequencing.place import Place
from schemas.codec import ACCEPTED, PLACES
from schemas.errors import Undecodable
from schemas.records import Places
from schemas.topics import ACCEPTED as ACCEPTED_TOPIC
from schemas.topics import PLACES as PLACES_TOPIC

__all__ = [
    "PlacesWriter",
    "entries_of",
    "newest_accepted",
    "newest_before",
    "newest_source",
    "offset_before",
    "read_places",
    "record_at",
    "source_of_accepted",
]

MAX_ENTRIES: Final = 2_000
"""In one record: some 250 KB at most."""
_INTERVAL_MS: Final = 1_000
TAIL_RECORDS = 2_048
"""How far back the first look for a source offset goes; each further one goes four times as far."""
STEP_BACK_RECORDS = 5_000
"""A worker that was replaced, and does not know it yet, writes again what others have written since: at most
this many records together, several chunks. Who restarts looks as far back for the newest source offset."""


class PlacesWriter:
    """Gathers the places of one partition, run by run, and hands each run out as a record.

    The first run begins at `first_offset` of im.accepted, or, if that is not known, with the first message.
    """

    def __init__(self, partition: int, first_offset: int | None = None) -> None:
        self._partition = partition
        self._first = first_offset
        self._last = -1
        self._taken_ms = 0
        self._rows: list[tuple[Key, Place, int]] = []

    def add(self, key: Key, place: Place, offset: int) -> None:
        """The record at this offset of im.accepted got this place; so everything before it is handled."""
        if self._first is None:
            self._first = offset
        self._last = offset
        self._rows.append((key, place, offset))

    def cover(self, offset: int) -> None:
        """Everything up to this offset of im.accepted is placed, or needs no place."""
        self._last = max(self._last, offset)

    def take(self, now_ms: int) -> list[Outgoing]:
        """What was gathered, as records, if it is time; everything in it must be in the log by now."""
        due = len(self._rows) >= MAX_ENTRIES or now_ms - self._taken_ms >= _INTERVAL_MS
        first = self._first
        if not due or first is None or self._last < first:
            return []
        out = []
        rest, self._rows = self._rows, []
        while rest:
            rows, rest = rest[:MAX_ENTRIES], rest[MAX_ENTRIES:]
            last = rows[-1][2] if rest else self._last
            out.append(self._record(first, last, rows))
            first = last + 1
        if first <= self._last:
            out.append(self._record(first, self._last, []))
        self._first = self._last + 1
        self._taken_ms = now_ms
        return out

    def _record(self, first: int, last: int, rows: Sequence[tuple[Key, Place, int]]) -> Outgoing:
        conversations: dict[str, int] = {}
        senders: dict[str, int] = {}
        for (conversation_id, sender, _), _, _ in rows:
            conversations.setdefault(conversation_id, len(conversations))
            senders.setdefault(sender, len(senders))
        run = Places(
            first_offset=first,
            last_offset=last,
            conversations=list(conversations),
            senders=list(senders),
            conversation=[conversations[key[0]] for key, _, _ in rows],
            sender=[senders[key[1]] for key, _, _ in rows],
            client_msg_id=[key[2] for key, _, _ in rows],
            message_id=[place.message_id for _, place, _ in rows],
            seq=[place.seq for _, place, _ in rows],
            sent_at_ms=[place.sent_at_ms for _, place, _ in rows],
            content_crc=[place.content_crc for _, place, _ in rows],
        )
        return Outgoing(PLACES_TOPIC, self._partition, PLACES.encode(run))


def entries_of(places: Places) -> Iterator[tuple[Key, Place]]:
    """What was added, in order."""
    conversations, senders = places.conversations, places.senders
    for conversation, sender, client_msg_id, message_id, seq, sent_at_ms, content_crc in zip(
        places.conversation,
        places.sender,
        places.client_msg_id,
        places.message_id,
        places.seq,
        places.sent_at_ms,
        places.content_crc,
        strict=True,
    ):
        key = conversations[conversation], senders[sender], client_msg_id
        yield key, Place(seq, sent_at_ms, message_id, content_crc)


async def read_places(bus: Bus, partition: int, since_ms: int) -> list[Places]:
    """Runs that follow one another and hold every message sent at or after this time, up to some offset.

    None at all if that cannot be shown: a run is missing, or the topic does not reach back so far.
    """
    runs: list[Places] = []

    def take(records: Sequence[Record]) -> None:
        for record in records:
            with suppress(Undecodable):
                found = PLACES.decode(record.value)
                if runs and found.first_offset > runs[-1].last_offset + 1:
                    runs.clear()
                if not runs or found.last_offset > runs[-1].last_offset:
                    runs.append(found)

    start = await bus.offsets_at(PLACES_TOPIC, partition, since_ms)
    await bus.read_range(PLACES_TOPIC, partition, start, None, take)
    if runs and runs[0].first_offset > 0:
        before = await record_at(bus, ACCEPTED_TOPIC, partition, runs[0].first_offset - 1)
        if before is None or before.timestamp_ms >= since_ms:
            return []
    return runs


async def record_at(bus: Bus, topic: str, partition: int, offset: int) -> Record | None:
    """The record at this offset, or the first one kept after it; None at the end."""
    found: list[Record] = []
    await bus.read_range(topic, partition, offset, offset + 1, found.extend)
    return found[0] if found else None


async def newest_before(bus: Bus, topic: str, partition: int, offset: int, now_ms: int) -> int:
    """When the log took the last record before this offset; now if there is none, and never later.

    A window is counted back from there: what the stream stood still since then does not count.
    """
    record = await record_at(bus, topic, partition, offset - 1) if offset > 0 else None
    return now_ms if record is None else min(now_ms, record.timestamp_ms)


async def newest_source(
    bus: Bus,
    topic: str,
    partition: int,
    start: int,
    end: int,
    glance: Callable[[Record], int],
    source_of: Callable[[Record], int],
) -> int:
    """The newest source offset of these records; -1 if there is none.

    A record that cannot be read in full does not count (`source_of` raises `Undecodable`). They rise but for
    repeats, so from the end few need more than a `glance` at their first bytes.
    """
    newest = -1

    def take(records: Sequence[Record]) -> None:
        nonlocal newest
        for record in reversed(records):
            with suppress(Undecodable):
                if glance(record) > newest:
                    newest = max(newest, source_of(record))

    await bus.read_range(topic, partition, max(0, start), end, take)
    return newest


async def newest_accepted(bus: Bus, partition: int, start: int, end: int) -> int:
    """`newest_source` of im.accepted: the newest offset of im.inbound that these records accept."""

    def glance(record: Record) -> int:
        return ACCEPTED.leading(record.value)

    return await newest_source(bus, ACCEPTED_TOPIC, partition, start, end, glance, source_of_accepted)


def source_of_accepted(record: Record) -> int:
    """Raises `Undecodable` unless the record can be read in full."""
    return ACCEPTED.split(record.value)[0]["source_offset"]


async def offset_before(
    bus: Bus, topic: str, partition: int, position: int, source_of: Callable[[Record], int]
) -> int:
    """An offset of `topic` before every record that was made from `position` of its source or later.

    One that was made from an earlier offset shows it only together with another, `STEP_BACK_RECORDS` before:
    it may be a late repeat, with newer ones before it.
    """

    async def is_earlier(offset: int) -> bool:
        record = await record_at(bus, topic, partition, offset)
        with suppress(Undecodable):
            return record is None or source_of(record) < position
        return False

    end = (await bus.ends(topic)).get(partition, 0)
    count = TAIL_RECORDS
    while (before := end - count - STEP_BACK_RECORDS) > 0:
        if all(await together(is_earlier(end - count), is_earlier(before))):
            return before
        count *= 4
    return 0
