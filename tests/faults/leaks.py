"""What users say stands in no log: the canary of every text is looked for in all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.faults.dumps import Leak
from tests.faults.history import canaries

__all__ = ["find_leaks"]

_LINE: Final = 300


def find_leaks(folder: Path) -> Iterator[Leak]:
    """Every canary in the logs of this folder. What has been trimmed away is not seen."""
    for path in sorted(folder.glob("*.log")):
        with path.open("rb") as lines:
            for line in lines:
                for mid in canaries(line):
                    yield Leak(where=path.name, mid=mid, line=line[:_LINE].decode(errors="replace").rstrip())
