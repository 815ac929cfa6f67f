"""Who gets a span, whose child it is, and what travels on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from infra.ports import Record
from infra.settings import Settings
from infra.telemetry.start import start_tracing
from infra.telemetry.trace_context import parse_traceparent, trace_headers
from infra.telemetry.tracing import Tracing

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = SAMPLED[:-2] + "00"


@contextmanager
def tracing_into(spans: list[ReadableSpan], ratio: float = 0.0) -> Iterator[Tracing]:
    exporter = InMemorySpanExporter()
    tracing = Tracing("t", "t-1", ratio, [exporter])
    try:
        yield tracing
    finally:
        tracing.shutdown()
        spans += exporter.get_finished_spans()


def a_record(offset: int, traceparent: str | None = None) -> Record:
    headers = (("traceparent", traceparent.encode()),) if traceparent else ()
    return Record("im.accepted", 1, offset, 0, b"d:a:b", b"", headers)


def test_without_an_endpoint_there_is_no_tracing() -> None:
    """No address for spans: nothing is made, started or loaded."""
    assert start_tracing(Settings(), "t", "t-1") is None


def test_a_caller_decides_about_its_trace() -> None:
    """Sampled is sampled, unsampled stays so at any ratio, and nonsense is as if nothing was said."""
    spans: list[ReadableSpan] = []
    with tracing_into(spans, ratio=1.0) as tracing:
        assert tracing.send("im.inbound", 0, "m1", UNSAMPLED) is None
        assert tracing.send("im.inbound", 0, "m2", "nonsense") is not None
        hop = tracing.send("im.inbound", 0, "m3", SAMPLED)
        assert hop is not None
        hop.end()
    with tracing_into(spans, ratio=0.0) as tracing:
        assert tracing.send("im.inbound", 0, "m4", None) is None
    (span,) = spans
    assert span.context is not None
    assert format(span.context.trace_id, "032x") == SAMPLED[3:35]
    assert span.parent is not None
    assert format(span.parent.span_id, "016x") == SAMPLED[36:52]


def test_only_sampled_records_of_a_batch_get_a_step() -> None:
    """The others pass: an unsampled one keeps its header, one without headers costs nothing."""
    spans: list[ReadableSpan] = []
    with tracing_into(spans) as tracing:
        hops, beside = tracing.process([a_record(1), a_record(2, SAMPLED), a_record(3, UNSAMPLED)], "im.t")
        for hop in hops:
            hop.end()
        assert set(beside) == {2, 3}
        assert beside[3] == (("traceparent", UNSAMPLED.encode()),)
        assert beside[2] == hops[0].headers
    (span,) = spans
    assert span.name == "process im.accepted"
    assert span.attributes is not None
    assert span.attributes["messaging.kafka.offset"] == 2
    assert span.attributes["messaging.batch.message_count"] == 3


def test_a_batch_of_several_links_to_their_steps() -> None:
    """One span for the batch as a whole, a trace of its own, linked to each sampled step."""
    spans: list[ReadableSpan] = []
    with tracing_into(spans) as tracing:
        hops, _ = tracing.process([a_record(1, SAMPLED), a_record(2, SAMPLED)], "im.t")
        for hop in hops:
            hop.end()
    batch = next(span for span in spans if span.links)
    steps = {span.context.span_id for span in spans if span is not batch and span.context is not None}
    assert {link.context.span_id for link in batch.links} == steps
    assert batch.parent is None


@given(st.text(max_size=60) | st.from_regex(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True))
def test_any_header_is_read_or_left(text: str) -> None:
    """No header breaks anything, and what is read is what was written."""
    found = parse_traceparent(text)
    if found is not None:
        trace_id, span_id, sampled = found
        assert text.startswith(f"00-{trace_id:032x}-{span_id:016x}-")
        assert sampled == bool(int(text[-2:], 16) & 1)


def test_other_headers_do_not_travel() -> None:
    """Only the trace goes on from a record to what is made of it."""
    record = Record("t", 0, 7, 0, None, b"", (("im-stage", b"x"), ("traceparent", b"00-a")))
    assert trace_headers([record]) == {7: (("traceparent", b"00-a"),)}
    assert trace_headers([Record("t", 0, 8, 0, None, b"")]) == {}
