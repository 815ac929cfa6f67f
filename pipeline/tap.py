"""`im tap`: decoded records of a topic as JSON lines, read without a group, so that nobody notices."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import orjson

from infra.durations import parse_duration_ms
from infra.ports import Bus, Record
from schemas import topics
from schemas.codec import (
    ACCEPTED,
    AUDIT,
    DECISION,
    INBOUND,
    MESSAGE,
    OUTBOUND,
    PLACES,
    POLICY,
    PRESENCE,
    RECEIPT,
    REVOCATION,
)
from schemas.errors import BadInput, Undecodable

__all__ = ["decoded", "line_of", "parse_filters", "parse_since_ms", "tap"]

_POLL_S = 1.0
_SINCE_1970 = re.compile(r"[0-9]{1,15}", re.ASCII)


def _accepted(value: bytes | None) -> dict[str, Any]:
    numbers, inbound, _ = ACCEPTED.split(value)
    return {**numbers, **msgspec.structs.asdict(inbound)}


def _outbound(value: bytes | None) -> dict[str, Any]:
    outbound = OUTBOUND.decode(value)
    body = (
        msgspec.to_builtins(MESSAGE.decode(outbound.body))
        if outbound.kind == "message"
        else orjson.loads(outbound.body)
    )
    return {**msgspec.structs.asdict(outbound), "body": body}


_DECODERS: Mapping[str, Callable[[bytes | None], Any]] = {
    topics.INBOUND: INBOUND.decode,
    topics.ACCEPTED: _accepted,
    topics.MESSAGES: MESSAGE.decode,
    topics.MODERATION: DECISION.decode,
    topics.RECEIPTS: RECEIPT.decode,
    topics.POLICY: POLICY.decode,
    topics.AUDIT: AUDIT.decode,
    topics.PLACES: PLACES.decode,
    topics.PRESENCE: PRESENCE.decode,
    topics.REVOCATIONS: REVOCATION.decode,
}


def decoded(record: Record) -> dict[str, Any]:
    """The record's content, by its topic; dead letters as their reason. Raises `Undecodable`."""
    if record.topic == topics.DEAD_LETTERS:
        reasons = {name: value.decode(errors="replace") for name, value in record.headers}
        return {"value_bytes": len(record.value or b""), **reasons}
    decode = _DECODERS.get(record.topic, _outbound if record.topic.startswith("im.outbound.") else None)
    if decode is None:
        raise Undecodable(f"{record.topic} is none of our topics")
    content: dict[str, Any] = msgspec.to_builtins(decode(record.value))
    if isinstance(content.get("content"), str):
        content["content"] = orjson.loads(content["content"])
    return content


def line_of(record: Record) -> dict[str, Any]:
    """One line: where the record stands, and what it says. A record nobody can decode says so."""
    place = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": record.key.decode(errors="replace") if record.key is not None else None,
    }
    try:
        return {**place, "value": decoded(record)}
    except (Undecodable, orjson.JSONDecodeError) as error:
        return {**place, "error": str(error)}


def parse_filters(texts: list[str]) -> Callable[[dict[str, Any]], bool]:
    """`field=value` and `field!=value`, all of which a record's content must meet. Raises `BadInput`."""
    tests: list[tuple[str, bool, str]] = []
    for text in texts:
        match = re.fullmatch(r"(\w+)(!?=)=?(.*)", text)
        if match is None:
            raise BadInput(f"a filter reads field=value or field!=value, not {text!r}")
        name, sign, wanted = match.groups()
        tests.append((name, sign == "=", wanted.strip("\"'")))
    return lambda content: all((str(content.get(name)) == wanted) == equal for name, equal, wanted in tests)


def parse_since_ms(text: str, now_ms: int) -> int:
    """`10m`, `90s`, `2h` ago, or milliseconds since 1970. Raises `BadInput`."""
    return int(text) if _SINCE_1970.fullmatch(text) else now_ms - parse_duration_ms(text)


async def tap(
    bus: Bus,
    topic: str,
    since_ms: int | None,
    follow: bool,
    limit: int | None,
    keep: Callable[[dict[str, Any]], bool],
    emit: Callable[[dict[str, Any]], None],
) -> int:
    """Emit what is there since a time (None: nothing), then, if asked, what comes; how many were emitted."""
    emitted = 0

    def offer(records: Sequence[Record]) -> None:
        nonlocal emitted
        for record in records:
            line = line_of(record)
            if (limit is None or emitted < limit) and keep(line.get("value", {})):
                emitted += 1
                emit(line)

    subscription = await bus.subscribe_end(topic)
    try:
        if since_ms is not None:
            for partition, end in sorted((await bus.ends(topic)).items()):
                start = await bus.offsets_at(topic, partition, since_ms)
                await bus.read_range(topic, partition, start, end, offer)
        while follow and (limit is None or emitted < limit):
            offer(await subscription.next_records(_POLL_S))
        return emitted
    finally:
        await subscription.close()
