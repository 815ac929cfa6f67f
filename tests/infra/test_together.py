"""Several things at once: what they come to, who is stopped when one fails, how many questions at a time."""

from __future__ import annotations

import asyncio

import pytest

from infra.together import look_up, together
from schemas.errors import Unavailable


async def test_the_answers_stand_in_the_order_of_the_work_not_of_their_coming() -> None:
    second_is_done = asyncio.Event()

    async def first() -> str:
        await second_is_done.wait()
        return "first"

    async def second() -> int:
        second_is_done.set()
        return 2

    assert await together(first(), second()) == ("first", 2)


async def test_the_first_that_fails_stops_the_others_and_its_error_comes_out_alone() -> None:
    """No group of errors is shown to a person, and who asked does not count as cancelled."""
    stopped = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def fails() -> None:
        raise Unavailable("away")

    with pytest.raises(Unavailable, match="away"):
        await together(waits(), fails())
    assert stopped.is_set()
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_who_is_cancelled_stops_all_of_it() -> None:
    stopped = 0

    async def waits() -> None:
        nonlocal stopped
        try:
            await asyncio.Event().wait()
        finally:
            stopped += 1

    work = asyncio.create_task(together(waits(), waits()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert stopped == 2


async def test_a_look_up_asks_so_many_questions_at_a_time() -> None:
    asked = most = 0

    async def ask(name: int) -> str:
        nonlocal asked, most
        asked += 1
        most = max(most, asked)
        await asyncio.sleep(0)
        asked -= 1
        return str(name)

    names = list(range(20, 0, -1))
    answers = await look_up(names, ask, at_once=3)
    assert list(answers.items()) == [(name, str(name)) for name in names]
    assert most == 3


async def test_a_look_up_raises_what_the_question_raises() -> None:
    async def ask(name: str) -> None:
        raise Unavailable(name)

    with pytest.raises(Unavailable, match="here"):
        await look_up(["here"], ask)
