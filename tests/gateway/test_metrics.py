"""What a gateway counts of itself, and how little that grows."""

from __future__ import annotations

from prometheus_client import generate_latest

from gateway.metrics import Metrics
from infra.telemetry.exposition import parse_look, quantile, total
from schemas.codes import CloseCode, Code
from tests.gateway.world import a_world

MAX_SERIES = 300
LABELS = {"le", "code", "status", "dependency", "reason"}


def test_series_are_bounded() -> None:
    """Whatever is counted, a gateway has at most 300 series, and no label that grows with its users."""
    metrics = Metrics()
    for code in Code:
        metrics.refuse(code)
    for close in CloseCode:
        metrics.close(close)
    for status in (101, 400, 401, 403, 426, 429, 503):
        metrics.handshakes.labels(str(status)).inc()
    for step in range(1_000):
        metrics.delivery_s.observe(step / 10, 7)
        metrics.publish_s.observe(step / 10)
    series = parse_look(generate_latest(metrics.registry).decode())
    assert len(series) <= MAX_SERIES
    assert {label for _, labels in series for label, _ in labels} <= LABELS


async def test_a_delivery_is_timed_for_each_who_gets_it() -> None:
    """From the arrival of a send to the write of its delivery; the sender's own answer is none."""
    async with a_world() as world:
        alice, bob = await world.enter("alice"), await world.enter("bob")
        await alice.say("d:alice:bob", "hi", "m1")
        await bob.until("deliver")
        await alice.until("sent")
        seen = parse_look(generate_latest(world.gateway.metrics.registry).decode())
    assert total(seen, "im_delivery_seconds_count") == 1
    found = quantile(0.5, seen, "im_delivery_seconds")
    assert found is not None
    assert found < 5
