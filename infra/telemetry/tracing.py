"""Spans after OpenTelemetry's messaging conventions, made only for what is sampled.

A span costs 24 µs, and asking the SDK whether to make one 9 µs. So the gateway tosses the coin itself
(0.1 µs), and everybody after it makes a span exactly for a record with a sampled `traceparent` beside
it: parent-based sampling, with nothing to pay for the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import random
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    set_span_in_context,
)

from infra.ports import Record
from infra.telemetry.trace_context import TRACEPARENT, Headers, parse_traceparent, trace_headers

__all__ = ["Hop", "Tracing"]

_QUEUED_SPANS: Final = 4_096
"""Spans that wait for the collector; above it new ones are dropped."""
_EXPORT_SPANS: Final = 512
_EXPORT_INTERVAL_MS: Final = 1_000


class Hop:
    """One step of a sampled message, from its beginning until `end`."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def context(self) -> SpanContext:
        return self._span.get_span_context()

    @property
    def headers(self) -> Headers:
        """What makes the next step a child of this one."""
        own = self.context
        text = f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}"
        return ((TRACEPARENT, text.encode()),)

    def end(self) -> None:
        self._span.end()


class Tracing:
    """Makes the spans of one process and sends them on, from a thread of its own.

    A collector that is slow or away costs spans, never messages: the queue is bounded and drops.
    """

    def __init__(self, service: str, instance: str, ratio: float, exporters: Sequence[SpanExporter]) -> None:
        self._ratio = ratio
        resource = Resource({"service.name": service, "service.instance.id": instance})
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        for exporter in exporters:
            self._provider.add_span_processor(
                BatchSpanProcessor(
                    exporter,
                    max_queue_size=_QUEUED_SPANS,
                    schedule_delay_millis=_EXPORT_INTERVAL_MS,
                    max_export_batch_size=_EXPORT_SPANS,
                )
            )
        self._tracer = self._provider.get_tracer("skein")

    def send(self, topic: str, partition: int, message_id: str, traceparent: str | None) -> Hop | None:
        """The first step of a message into the log; None if it is not sampled.

        A caller's own traceparent decides; without one, one message in 1 / ratio is sampled.
        """
        parent = parse_traceparent(traceparent) if traceparent is not None else None
        if not (parent[2] if parent is not None else random() < self._ratio):
            return None
        attributes = {**_attributes("send", topic, partition), "messaging.message.id": message_id}
        return self._begin("send", topic, SpanKind.PRODUCER, parent, attributes)

    def process(self, records: Sequence[Record], group: str | None) -> tuple[list[Hop], dict[int, Headers]]:
        """A step for each sampled record, and by offset what must stand beside what is made of it.

        A batch with several of them has a span of its own, which links to theirs.
        """
        hops: list[Hop] = []
        beside = trace_headers(records)
        if not beside:
            return hops, beside
        shared: dict[str, str | int] = {"messaging.batch.message_count": len(records)}
        if group is not None:
            shared["messaging.consumer.group.name"] = group
        for record in records:
            if record.offset not in beside:
                continue
            ((_, value),) = beside[record.offset]
            parent = parse_traceparent(value.decode("ascii", "replace"))
            if parent is None or not parent[2]:
                continue
            attributes = _attributes("process", record.topic, record.partition) | shared
            attributes["messaging.kafka.offset"] = record.offset
            hop = self._begin("process", record.topic, SpanKind.CONSUMER, parent, attributes)
            hops.append(hop)
            beside[record.offset] = hop.headers
        if len(hops) > 1:
            topic, partition = records[0].topic, records[0].partition
            attributes = _attributes("process", topic, partition) | shared
            links = [Link(hop.context) for hop in hops]
            hops.append(self._begin("process", topic, SpanKind.CONSUMER, None, attributes, links))
        return hops, beside

    def shutdown(self) -> None:
        """Send what waits, within a bound. Blocks: call it off the loop."""
        self._provider.shutdown()

    def _begin(
        self,
        operation: str,
        topic: str,
        kind: SpanKind,
        parent: tuple[int, int, bool] | None,
        attributes: Mapping[str, str | int],
        links: Sequence[Link] = (),
    ) -> Hop:
        around = Context()
        if parent is not None:
            context = SpanContext(
                parent[0], parent[1], is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
            )
            around = set_span_in_context(NonRecordingSpan(context), around)
        return Hop(
            self._tracer.start_span(
                f"{operation} {topic}", context=around, kind=kind, attributes=attributes, links=links
            )
        )


def _attributes(operation: str, topic: str, partition: int) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(partition),
    }
