"""The engines of the fixture `engines`, disturbed and examined."""

from __future__ import annotations

import asyncio

import pytest

from infra.settings import Settings
from infra.stack.bootstrap import bootstrap
from infra.stack.doctor import examine
from infra.stack.local import LocalStack
from infra.stack.progress import silent_steps
from tests.acceptance.patience import until
from tests.conftest import Background

pytestmark = pytest.mark.acceptance


async def test_doctor_finds_only_what_does_not_run(engines: Settings) -> None:
    """On running engines with topics and tables, only the gateway is missing."""
    elsewhere = engines.model_copy(update={"port": 1})

    async def findings() -> list[str]:
        return [check.title for check in await examine(elsewhere) if not check.ok]

    # on a busy machine an engine may be too slow for one look
    await until(findings, lambda found: found == ["gateway gw-1 at 127.0.0.1:1"])


async def test_doctor_finds_missing_tables(engines: Settings) -> None:
    """A keyspace that nobody made is a finding with its fix, not an error."""
    checks = await examine(engines.model_copy(update={"keyspace": "nobody_made_it"}))

    assert [check.fix for check in checks if check.title.startswith("tables")] == ["make run creates them"]


async def test_bootstrap_again_changes_nothing(engines: Settings) -> None:
    """Each start does it."""
    await bootstrap(engines, silent_steps())


def test_an_engine_that_crashes_comes_back(stack: LocalStack, background: Background) -> None:
    """With the same address; what runs on it reconnects."""

    async def crash_and_return() -> tuple[int, int]:
        before = stack.engines.pids["redis"]
        stack.engines.kill("redis")
        async with asyncio.timeout(60):
            await stack.engines.wait_ready("redis")
        return before, stack.engines.pids["redis"]

    before, after = background.call(crash_and_return())

    assert before != after
