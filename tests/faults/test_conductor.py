"""conductor.py: what is injected is healed, whatever happens, and the log says only what was seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import pytest

from schemas.errors import Unavailable
from tests.faults.conductor import Conductor, Strike
from tests.faults.folder import Folder
from tests.faults.history import Began, Healed, Held
from tests.faults.nemesis.fault import Fault
from tests.faults.schedule import Turn


class Scripted(Fault):
    """Does nothing, and says what it is told to say."""

    hold_timeout_s = heal_timeout_s = 0.01

    def __init__(
        self, held: str | None = "seen", error: Exception | None = None, lasts_s: float = 0.0
    ) -> None:
        self.target = "nothing"
        self.lasts_s = lasts_s
        self.holding = asyncio.Event()
        self.heals = 0
        self._held = held
        self._error = error

    async def inject(self) -> None:
        if self._error is not None:
            raise self._error

    async def took_hold(self) -> str | None:
        self.holding.set()
        return self._held

    async def heal(self) -> None:
        self.heals += 1

    async def healed(self) -> str | None:
        return "as before" if self.heals else None


def one_turn() -> Iterator[Turn]:
    return repeat(Turn("scripted", 0.0, 1), 1)


async def conduct(fault: Fault, folder: Folder, seconds: float = 60.0) -> list[Strike]:
    with folder.nemesis() as log:
        conductor = Conductor(lambda _: fault, log, lambda _: None)
        await conductor.run(one_turn(), time.monotonic() + seconds)
        return conductor.strikes


async def test_a_fault_is_injected_seen_healed_and_seen_to_be_over(tmp_path: Path) -> None:
    """In this order, and in the log."""
    folder = Folder(tmp_path)
    fault = Scripted()
    [strike] = await conduct(fault, folder)
    assert (strike.held, strike.back, strike.trouble, fault.heals) == ("seen", "as before", "", 1)
    assert [type(event) for event in folder.nemesis_events()] == [Began, Held, Healed]


@pytest.mark.parametrize("fault", [{"held": None}, {"error": Unavailable("no mount")}])
async def test_what_was_not_seen_to_hold_is_not_said_to_have_held(
    tmp_path: Path, fault: dict[str, Exception | None]
) -> None:
    """It is healed all the same; the checker counts it as a fault that never took hold."""
    folder = Folder(tmp_path)
    scripted = Scripted(**fault)  # type: ignore[arg-type]
    [strike] = await conduct(scripted, folder)
    assert strike.held is None
    assert scripted.heals == 1
    assert [type(event) for event in folder.nemesis_events()] == [Began, Healed]


async def test_an_interrupted_run_heals_what_is_under_way(tmp_path: Path) -> None:
    """Nobody is left with a stopped process or a cut link."""
    folder = Folder(tmp_path)
    fault = Scripted(lasts_s=3600.0)
    running = asyncio.create_task(conduct(fault, folder))
    await fault.holding.wait()
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert fault.heals == 1
    assert [type(event) for event in folder.nemesis_events()] == [Began, Held, Healed]


async def test_no_fault_begins_after_the_end(tmp_path: Path) -> None:
    """The load goes on a little longer than the faults."""
    assert await conduct(Scripted(), Folder(tmp_path), seconds=-1.0) == []
