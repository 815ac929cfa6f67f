"""infra/stack/progress.py"""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from infra.stack.progress import Steps
from schemas.errors import Unavailable


def test_steps_end_as_one_line_each() -> None:
    """In a pipe there is nothing but these lines."""
    output = StringIO()
    with Steps(Console(file=output, width=40)) as steps:
        with steps.step("Kafka", "127.0.0.1:9092"):
            pass
        with pytest.raises(Unavailable), steps.step("Redis"):
            raise Unavailable("gone")
        steps.note("worker-1 is back")
    first, second, third = output.getvalue().splitlines()

    assert first.split() == ["✔", "Kafka", "127.0.0.1:9092", "0.0", "s"]
    assert second.split() == ["✘", "Redis", "0.0", "s"]
    assert third == " · worker-1 is back"
