"""A trace goes on through every stage, whether or not that worker makes spans."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.history import MemoryHistory
from infra.memory.routes import MemoryRouteTable
from infra.ports import Outgoing, Record
from infra.settings import Settings
from infra.telemetry.tracing import Tracing
from pipeline.batch import Chunk
from pipeline.dead_letter_limit import DeadLetterLimit
from pipeline.fanout.agent import Fanout
from pipeline.moderation.agent import Moderation
from pipeline.progress import Progress
from pipeline.sequencing.agent import Sequencing
from pipeline.stage import StageRunner
from schemas.codec import INBOUND
from tests.builders import an_inbound

TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADER = ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode())
OTHER = ("im-stage", b"redriven")
TOPICS = ("im.inbound", "im.accepted", "im.messages", "im.outbound.gw-1")


async def one_chunk(records: Sequence[Record]) -> AsyncIterator[Chunk]:
    yield Chunk(0, 0, records)


class Stages:
    """Moderation, sequencing and fan-out over the memory twins, one after the other."""

    def __init__(self, tracing: Tracing | None) -> None:
        self.settings = Settings(partitions=1)
        self.clock = ManualClock()
        self.bus = MemoryBus(1, self.clock)
        self.history = MemoryHistory()
        self.tracing = tracing

    async def run(self, *headers: tuple[tuple[str, bytes], ...]) -> None:
        """Each of these headers stands beside an inbound message of its own."""
        sent = [
            Outgoing("im.inbound", 0, INBOUND.encode(an_inbound(client_msg_id=f"m{n}")), b"d:alice:bob", each)
            for n, each in enumerate(headers)
        ]
        await self.bus.publish(sent)
        stages: list[Any] = [
            Moderation(self.settings, self.bus, self.history, self.clock),
            Sequencing(self.settings, self.bus, self.history, self.clock),
            Fanout(self.settings, self.bus, self.history, MemoryRouteTable(self.clock)),
        ]
        for stage, topic in zip(stages, TOPICS, strict=False):
            await stage.startup()
            limit = DeadLetterLimit.of(self.settings)
            runner = StageRunner(stage, self.bus, self.clock, Progress(), limit, tracing=self.tracing)
            await runner.run_partition(one_chunk(self.bus.records(topic)))

    def headers(self, topic: str) -> list[tuple[tuple[str, bytes], ...]]:
        return [record.headers for record in self.bus.records(topic)]


async def test_a_header_travels_to_the_gateway() -> None:
    """Without spans of their own the stages pass a traceparent on as it is, and nothing else."""
    stages = Stages(None)
    await stages.run((OTHER, HEADER), ())
    for topic in TOPICS[1:]:
        assert stages.headers(topic) == [(HEADER,), ()]


async def test_each_stage_adds_its_step() -> None:
    """With tracing, what stands beside a record is the step that made it, within the same trace."""
    exporter = InMemorySpanExporter()
    tracing = Tracing("t", "t-1", 0.0, [exporter])
    stages = Stages(tracing)
    await stages.run((HEADER,), ())
    tracing.shutdown()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert list(spans) == ["process im.inbound", "process im.accepted", "process im.messages"]
    for before, topic in zip(spans.values(), TOPICS[1:], strict=True):
        assert before.context is not None
        expected = f"00-{TRACE}-{before.context.span_id:016x}-01".encode()
        assert stages.headers(topic) == [(("traceparent", expected),), ()]
