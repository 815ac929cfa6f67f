"""Pass (f): tables and views before and after a replay (I7), compared by digests that no order changes."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import msgspec

from tests.faults.checker.findings import Findings
from tests.faults.checker.source import Source
from tests.faults.dumps import Digest

__all__ = ["check_replay", "digest_of"]

_BITS = 128


def digest_of(rows: Iterable[Any]) -> tuple[str, int]:
    """A digest of rows in any order, and their number. A row that comes twice counts twice."""
    encoder = msgspec.json.Encoder(order="deterministic")
    total = count = 0
    for row in rows:
        total += int.from_bytes(blake2b(encoder.encode(row), digest_size=_BITS // 8).digest(), "big")
        count += 1
    return f"{total % 2**_BITS:032x}", count


def check_replay(source: Source, findings: Findings) -> list[str]:
    """Report what a replay changed; returns why the digests show less than they should."""
    moments: dict[str, dict[str, Digest]] = {"before": {}, "after": {}}
    for line in source.lines("digests", Digest):
        moments.setdefault(line.moment, {})[line.of] = line
    before, after = moments["before"], moments["after"]
    for name in before.keys() & after.keys():
        findings.looked_at("I7")
        if before[name].digest != after[name].digest:
            findings.add(
                "I7", "a replay changed something", of=name, before=before[name].digest,
                after=after[name].digest, rows_before=before[name].rows, rows_after=after[name].rows,
            )  # fmt: skip
    return [f"only one digest of {name}" for name in sorted(before.keys() ^ after.keys())]
