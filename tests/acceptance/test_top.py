"""`im top` says what the load generator says."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from infra.stack.environment import child_environment
from pipeline.ops.top.figures import Offsets, Watch, figures
from pipeline.ops.top.looker import Looker, open_looker
from pipeline.topology import STAGES
from tests.conftest import Running

pytestmark = pytest.mark.acceptance

NEAR = 0.05
PATH = ("moderation", "sequencing", "fanout", "persistence")


async def test_figures_are_those_of_the_generator(system: Running, tmp_path: Path) -> None:
    """What each stage handled and the gateway accepted and delivered is within 5 % of what the generator sent
    and heard."""
    report = tmp_path / "report.json"
    command = (sys.executable, "-m", "infra.cli", "bench", "pairs", "--url", system.url)
    amount = ("--pairs", "10", "--rate", "40", "--seconds", "5", "--warmup", "0", "--json", str(report))
    async with open_looker(system.settings) as looker:
        before = await at_rest(looker)
        env = child_environment(system.settings, os.environ)
        bench = await asyncio.create_subprocess_exec(
            *command, *amount, env=env, stdout=asyncio.subprocess.DEVNULL
        )
        await bench.wait()
        after = await at_rest(looker)
    top = figures(before, after, [spec.name for spec in STAGES])
    spans_s = [seen.at - before.seen[process].at for process, seen in after.seen.items()]
    near = NEAR + (max(spans_s) - min(spans_s)) / top.seconds  # who answered a look late counts for longer
    told = json.loads(report.read_text())[0]
    sent = told["figures"]["sends"]
    heard = next(latency["count"] for latency in told["latencies"] if latency["name"] == "deliver")
    handled = {stage.stage: stage.messages_per_s * top.seconds for stage in top.stages}
    for stage in PATH:
        assert abs(handled[stage] - sent) <= near * sent, (stage, handled, sent)
    (gateway,) = top.gateways
    for per_s, count in ((gateway.accepted_per_s, sent), (gateway.delivered_per_s, heard)):
        assert abs(per_s * top.seconds - count) <= near * sent, (gateway, sent, heard)
    assert gateway.p50_ms is not None
    assert all(stage.workers == 1 for stage in top.stages)
    assert not top.silent


async def at_rest(looker: Looker) -> Watch:
    """A look in which the gateway and both workers answer and no stage has anything left to handle.

    Processes announce themselves every two seconds, and what was heard is stored a little later.
    """
    async with asyncio.timeout(60):
        while True:
            seen = await looker.watch()
            roles = sorted(process.role for process in seen.seen)
            if roles == ["gateway", "worker", "worker"] and not any(map(waiting, seen.groups.values())):
                return seen
            await asyncio.sleep(0.5)


def waiting(group: Offsets) -> int:
    return sum(end - group.committed.get(p, 0) for p, end in group.ends.items())
