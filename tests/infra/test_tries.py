"""What a process needs to start is tried a few times."""

from __future__ import annotations

import pytest

from infra.tries import STARTUP_TRIES, in_a_few_tries
from schemas.errors import BadInput, Unavailable


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.tries.STARTUP_PAUSE_S", 0.0)


class Engine:
    """Answers from its `ready`th attempt on."""

    def __init__(self, ready: int, error: Exception) -> None:
        self.attempts = 0
        self._ready = ready
        self._error = error

    async def ask(self) -> int:
        self.attempts += 1
        if self.attempts < self._ready:
            raise self._error
        return self.attempts


async def test_an_engine_that_is_slow_at_first_is_waited_for() -> None:
    """The last try counts like the first."""
    assert await in_a_few_tries(Engine(STARTUP_TRIES, Unavailable("slow")).ask) == STARTUP_TRIES


async def test_tries_are_bounded() -> None:
    """An engine that stays away is told of by its own error."""
    engine = Engine(STARTUP_TRIES + 1, Unavailable("away"))
    with pytest.raises(Unavailable, match="away"):
        await in_a_few_tries(engine.ask)
    assert engine.attempts == STARTUP_TRIES


async def test_what_another_try_cannot_change_is_told_at_once() -> None:
    """Only `Unavailable` is worth another try."""
    engine = Engine(2, BadInput("wrong"))
    with pytest.raises(BadInput):
        await in_a_few_tries(engine.ask)
    assert engine.attempts == 1
