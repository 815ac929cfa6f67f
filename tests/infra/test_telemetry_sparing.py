"""infra/telemetry/sparing.py"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from infra.telemetry.sparing import Sparing


class Heard(logging.Handler):
    """What came through."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(str(record.msg) if isinstance(record.msg, dict) else record.getMessage())


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def heard(clock: Clock) -> Iterator[Heard]:
    handler, logger = Heard(), logging.getLogger("driver")
    handler.addFilter(Sparing(most=2, window_s=10.0, clock=clock))
    logger.addHandler(handler)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)


def test_a_line_is_heard_a_few_times_and_then_how_often_it_was_not(heard: Heard, clock: Clock) -> None:
    """Whatever its arguments were."""
    for node in range(7):
        logging.getLogger("driver").error("no answer from %s", node)
    clock.now += 10.0
    logging.getLogger("driver").error("no answer from %s", 7)
    assert heard.lines == [
        "no answer from 0",
        "no answer from 1",
        "no answer from 7 (and 5 more like it since)",
    ]


def test_other_lines_are_heard_meanwhile(heard: Heard) -> None:
    """Of another text, or more serious; and our own events, which are no text."""
    driver = logging.getLogger("driver")
    for _ in range(5):
        driver.error("no answer")
    driver.critical("no answer")
    driver.error("gave up")
    for _ in range(3):
        driver.error({"event": "ours"})
    assert heard.lines == ["no answer", "no answer", "no answer", "gave up", *["{'event': 'ours'}"] * 3]


def test_what_is_remembered_is_bounded(heard: Heard) -> None:
    """A library that builds its lines itself says each of them once."""
    for line in (f"no answer from {number}" for number in range(3_000)):
        logging.getLogger("driver").error(line)
    assert len(heard.lines) == 3_000
    [sparing] = heard.filters
    assert isinstance(sparing, Sparing)
    assert len(sparing._said) <= 1_000
