"""One trace through all stages, received by a real OTLP endpoint from the real processes."""

from __future__ import annotations

import secrets
from itertools import pairwise

import aiohttp
import pytest

from tests.acceptance.caller import Caller
from tests.acceptance.collector import Collector, Reported
from tests.acceptance.patience import PATIENCE_S
from tests.conftest import Running

pytestmark = pytest.mark.acceptance

PATH = [
    "send im.inbound",
    "process im.inbound",
    "process im.accepted",
    "process im.messages",
    "process im.outbound.gw-1",
]
GROUPS = {
    "process im.accepted": ["im.sequencing"],
    "process im.inbound": ["im.moderation"],
    "process im.messages": ["im.fanout", "im.persistence"],
}
STEPS = {(name, group) for name in PATH for group in GROUPS.get(name, [""])}
"""What each process reports in its own time."""


async def post(system: Running, text: str, traceparent: str | None = None) -> None:
    headers = {} if traceparent is None else {"traceparent": traceparent}
    body = {
        "client_msg_id": secrets.token_hex(8),
        "conversation_id": "d:tom:tracy",
        "kind": "text",
        "content": {"text": text},
    }
    async with aiohttp.ClientSession() as http:
        status, _ = await Caller(http, system.url, system.token("tracy")).post(
            "/v1/messages", body, **headers
        )
    assert status == 200


async def traced(system: Running, collector: Collector) -> list[Reported]:
    trace_id = secrets.token_hex(16)
    await post(system, "look", f"00-{trace_id}-{secrets.token_hex(8)}-01")
    return collector.wait_for(trace_id, STEPS, PATIENCE_S)


async def test_a_trace_passes_every_stage(system: Running, collector: Collector) -> None:
    """Each step is the child of the step whose record it handled; both readers of im.messages have one."""
    spans = await traced(system, collector)
    by_id = {span.span_id: span for span in spans}
    steps = {name: [span for span in spans if span.name == name] for name in PATH}
    for before, after in pairwise(PATH):
        assert steps[after], f"no span {after!r} among {sorted(span.name for span in spans)}"
        for span in steps[after]:
            assert by_id[span.parent_id].name == before
    groups = {span.attributes["messaging.consumer.group.name"] for span in steps["process im.messages"]}
    assert groups == {"im.fanout", "im.persistence"}
    for outbound in steps["process im.outbound.gw-1"]:
        assert by_id[outbound.parent_id].attributes["messaging.consumer.group.name"] == "im.fanout"
    assert {span.service for span in spans} == {"im-gateway", "im-worker"}


async def test_spans_follow_the_messaging_conventions(system: Running, collector: Collector) -> None:
    """System, operation, destination, partition, offset and group are named as OpenTelemetry names them."""
    spans = await traced(system, collector)
    send = next(span for span in spans if span.name == "send im.inbound")
    assert send.attributes["messaging.operation.type"] == "send"
    assert send.attributes["messaging.message.id"]
    process = next(span for span in spans if span.name == "process im.accepted")
    assert process.took_ns > 0
    assert {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "im.accepted",
        "messaging.consumer.group.name": "im.sequencing",
    }.items() <= process.attributes.items()
    assert "messaging.destination.partition.id" in process.attributes
    assert "messaging.kafka.offset" in process.attributes


async def test_what_nobody_samples_leaves_no_span(system: Running, collector: Collector) -> None:
    """A caller's own "not sampled" is kept, and without a caller's word the ratio (here 0) decides."""
    unwanted = secrets.token_hex(16)
    await post(system, "quiet", f"00-{unwanted}-{secrets.token_hex(8)}-00")
    await post(system, "quiet too")
    before = {span.trace_id for span in collector.spans}
    wanted = await traced(system, collector)
    assert {span.name for span in wanted} >= set(PATH)
    assert {span.trace_id for span in collector.spans} - before == {wanted[0].trace_id}
    assert unwanted not in {span.trace_id for span in collector.spans}
