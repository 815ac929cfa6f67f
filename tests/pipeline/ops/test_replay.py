"""pipeline/ops/replay.py, with every stage it feeds"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from infra.ports import Outgoing, Route
from pipeline.batch import Batch
from pipeline.ops.replay import patience, replay
from pipeline.ops.replay.plan import ReplayStage, load_plan, save
from pipeline.ops.replay.planning import Request, make_plan
from pipeline.ops.replay.progress import Progress, exclusive, load_progress
from pipeline.ops.replay.replay import apply_plan
from pipeline.persistence.agent import Persistence
from schemas.errors import BadInput, Unavailable
from schemas.tables import MessageRow, Row
from tests.pipeline.ops.desk import World

TALK = "d:alice:bob"
OTHER = "d:alice:cy"


class _Killed(BaseException):
    """The process ends here."""


async def a_plan(world: World, tmp_path: Path, stage: ReplayStage = "persist", **fields: object) -> Path:
    values = {"stage": stage, "rate": 0, "out": str(tmp_path / "out"), **fields}
    path = tmp_path / "replay-1.json"
    save(path, await make_plan(world.doors, msgspec.convert(values, Request), "ann"))
    return path


async def apply(world: World, path: Path, *, resume: bool = False) -> Progress:
    return await apply_plan(world.doors, path, "ann", resume=resume, stop=asyncio.Event())


async def stored(world: World, talk: str = TALK) -> list[int]:
    return [row.seq for row in await world.history.page(talk, after_seq=0, limit=100)]


async def test_what_is_selected_is_stored_and_nothing_else(tmp_path: Path) -> None:
    """No group's offsets, no topic but the audit."""
    world = World()
    await world.say(TALK, 5)
    await world.say(OTHER, 5)
    progress = await apply(world, await a_plan(world, tmp_path, conversations=[TALK]))
    assert (progress.state, progress.selected, progress.failed) == ("done", 5, 0)
    assert await stored(world) == [1, 2, 3, 4, 5]
    assert await stored(world, OTHER) == []
    assert await world.bus.committed("im.persistence", "im.messages") == {}
    assert [audit.state for audit in world.audits()] == ["begun", "done"]


async def test_what_came_after_the_plan_is_not_part_of_it(tmp_path: Path) -> None:
    """Its offsets are fixed."""
    world = World()
    await world.say(TALK, 3)
    path = await a_plan(world, tmp_path)
    await world.say(TALK, 3)
    assert (await apply(world, path)).read == 3
    assert await stored(world) == [1, 2, 3]


async def test_what_cannot_be_read_is_counted_and_named(tmp_path: Path) -> None:
    """It lies in im.dlq already: here it costs one line."""
    world = World()
    await world.say(TALK, 1)
    partition = world.bus.partition_for(TALK)
    await world.bus.publish([Outgoing("im.messages", partition, b"junk", TALK.encode())])
    progress = await apply(world, await a_plan(world, tmp_path))
    assert (progress.selected, progress.failed) == (2, 1)
    assert progress.first_failures[0].startswith(f"im.messages[{partition}]@1: expected schema")
    assert world.bus.records("im.dlq") == []


@pytest.mark.parametrize("dies_at", range(5))
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_killed_replay_goes_on_with_exact_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int, after: bool
) -> None:
    """Wherever it dies, before a step's effects or after them and before its progress is kept."""
    monkeypatch.setattr(replay, "_STEP_RECORDS", 4)
    world = World()
    await world.say(TALK, 18)
    path = await a_plan(world, tmp_path)
    write, calls = world.history.write, 0

    async def dies(rows: Sequence[Row]) -> None:
        nonlocal calls
        calls += 1
        if calls == dies_at + 1:
            if after:
                await write(rows)
            raise _Killed
        await write(rows)

    world.history.write = dies  # type: ignore[method-assign]
    with pytest.raises(_Killed):
        await apply(world, path)
    world.history.write = write  # type: ignore[method-assign]
    begun = load_progress(path)
    assert begun is not None
    assert begun.read == 4 * dies_at
    with pytest.raises(BadInput, match="was begun"):
        await apply(world, path)
    progress = await apply(world, path, resume=True)
    assert (progress.state, progress.read, progress.selected) == ("done", 18, 18)
    assert progress.effects == 18 + 1 + 2
    assert await stored(world) == list(range(1, 19))


async def test_the_next_step_is_planned_while_one_is_carried_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no more than the next: effects keep the order of the log, memory its bound."""
    monkeypatch.setattr(replay, "_STEP_RECORDS", 4)
    world = World()
    await world.say(TALK, 18)
    path = await a_plan(world, tmp_path)
    write, plan = world.history.write, Persistence.plan
    planned: list[int] = []
    carried_out: list[int] = []

    def noted(stage: Persistence, batch: Batch) -> list[Row]:
        planned.append(batch.records[0].offset)
        return plan(stage, batch)

    async def after_the_next_plan(rows: Sequence[Row]) -> None:
        step = len(carried_out)
        while len(planned) < min(step + 2, 5):
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        assert len(planned) <= step + 2
        carried_out.append(min(row.seq for row in rows if isinstance(row, MessageRow)) - 1)
        await write(rows)

    monkeypatch.setattr(Persistence, "plan", noted)
    world.history.write = after_the_next_plan  # type: ignore[method-assign]
    assert (await apply(world, path)).read == 18
    assert planned == carried_out == [0, 4, 8, 12, 16]


async def test_ctrl_c_pauses_and_what_is_done_stays_done(tmp_path: Path) -> None:
    """The pace does not hold it up; a resumed replay ends the plan, and only a begun one is resumed."""
    world = World()
    await world.say(TALK, 10)
    path = await a_plan(world, tmp_path, rate=1)
    with pytest.raises(BadInput, match="was not begun"):
        await apply(world, path, resume=True)
    stop = asyncio.Event()
    progress = await apply_plan(
        world.doors, path, "ann", resume=False, stop=stop, report=lambda _: stop.set()
    )
    assert (progress.state, progress.read) == ("paused", 1)
    save(path, msgspec.structs.replace(load_plan(path), rate=0))
    assert (await apply(world, path, resume=True)).read == 10
    assert (await apply(world, path)).state == "done"


async def test_a_short_absence_is_waited_for_and_a_long_one_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With everything kept for a resume."""
    monkeypatch.setattr(patience, "_PAUSE_S", 0.0)
    world = World()
    await world.say(TALK, 3)
    path = await a_plan(world, tmp_path)
    write, away = world.history.write, 3

    async def absent(rows: Sequence[Row]) -> None:
        nonlocal away
        away -= 1
        if away >= 0:
            raise Unavailable("no host answers")
        await write(rows)

    world.history.write = absent  # type: ignore[method-assign]
    assert (await apply(world, path)).state == "done"
    path = await a_plan(world, tmp_path / ".")
    (tmp_path / "replay-1.progress").unlink()
    away = 1_000
    with pytest.raises(Unavailable):
        await apply(world, path)
    kept = load_progress(path)
    assert kept is not None
    assert (kept.state, kept.read) == ("paused", 0)
    assert world.audits()[-1].state == "failed"


async def test_one_process_applies_a_plan(tmp_path: Path) -> None:
    """A second one is refused."""
    world = World()
    path = await a_plan(world, tmp_path)
    with exclusive(path), pytest.raises(BadInput, match="another process"):
        await apply(world, path)


async def test_the_index_rises_and_nobody_is_delivered_to(tmp_path: Path) -> None:
    """P7: inboxes and heads as fan-out leaves them, without a record for any gateway."""
    world = World()
    said = await world.say(TALK, 3)
    await world.routes.take_lease("gw-1", "boot", 60.0)
    await world.routes.attach([("bob", Route("phone", "gw-1", "boot", "s", "web", 0))])
    progress = await apply(world, await a_plan(world, tmp_path, "index"))
    assert progress.effects == 3
    assert (await world.routes.heads([TALK]))[TALK].seq == 3
    assert (await world.routes.inbox("bob", 0)).changed == {TALK: said[-1].sent_at_ms}
    assert world.bus.records("im.outbound.gw-1") == []


async def test_an_export_is_whole_whenever_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message one line, once, though a killed run left half a step behind."""
    monkeypatch.setattr(replay, "_STEP_RECORDS", 4)
    world = World()
    await world.say(TALK, 10)
    path = await a_plan(world, tmp_path, "export")
    stop = asyncio.Event()
    await apply_plan(world.doors, path, "ann", resume=False, stop=stop, report=lambda _: stop.set())
    (file,) = (tmp_path / "out").iterdir()
    with file.open("ab") as broken:
        broken.write(b"half a gzip member")
    progress = await apply(world, path, resume=True)
    lines = [msgspec.json.decode(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, 11))
    assert lines[0]["content"] == {"text": "hi"}
    assert progress.effects == 10
