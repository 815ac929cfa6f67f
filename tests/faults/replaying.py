"""The whole log goes through persistence again, twice, into the same tables; they stay as they were (I7)."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from typing import Final

from infra.settings import Settings
from pipeline.ops.doors import open_doors
from pipeline.ops.replay.plan import save
from pipeline.ops.replay.planning import everything, make_plan
from pipeline.ops.replay.replay import apply_plan
from tests.faults.checker.replay import digest_of
from tests.faults.dump_tables import dump_tables
from tests.faults.dumps import Digest
from tests.faults.folder import TABLE_ROWS, Folder

__all__ = ["replay_twice"]

ACTOR: Final = "chaos"
TIMES: Final = 2


async def replay_twice(settings: Settings, folder: Folder) -> None:
    """Needs the tables' dump, and writes the digests of before and after. Raises `Unavailable`."""
    before = list(_digests("before", folder))
    for number in range(TIMES):
        await _replay(settings, folder, number)
    again = Folder(folder.path / "replayed")
    await dump_tables(settings, again)
    folder.dump("digests", [*before, *_digests("after", again)])
    shutil.rmtree(again.path)


async def _replay(settings: Settings, folder: Folder, number: int) -> None:
    path = folder.path / "data" / f"replay-{number}.json"
    async with open_doors(settings, "bus", "routes", "history") as doors:
        save(path, await make_plan(doors, everything("persist", settings.keyspace), ACTOR))
        await apply_plan(doors, path, ACTOR, resume=False, stop=asyncio.Event())


def _digests(moment: str, folder: Folder) -> Iterator[Digest]:
    for table in TABLE_ROWS:
        digest, rows = digest_of(folder.table(table))
        yield Digest(t=time.monotonic(), moment=moment, of=f"table:{table}", digest=digest, rows=rows)
