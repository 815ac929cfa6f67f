"""A real OTLP receiver, as small as they come: takes spans over HTTP and keeps them."""

from __future__ import annotations

import gzip
import threading
import time
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

__all__ = ["Collector", "Reported", "Step"]

Step = tuple[str, str]
"""The name of a span and the group of consumers that did it, if it was one."""


class Reported:
    """A span as it came over the wire."""

    def __init__(self, service: str, span: Any) -> None:
        self.service = service
        self.name: str = span.name
        self.trace_id: str = span.trace_id.hex()
        self.span_id: str = span.span_id.hex()
        self.parent_id: str = span.parent_span_id.hex()
        self.links = [link.span_id.hex() for link in span.links]
        self.took_ns: int = span.end_time_unix_nano - span.start_time_unix_nano
        self.attributes: dict[str, str | int] = {
            a.key: a.value.string_value or a.value.int_value for a in span.attributes
        }

    @property
    def step(self) -> Step:
        return self.name, str(self.attributes.get("messaging.consumer.group.name", ""))


class Collector:
    """`async with Collector() as collector:` — serves until the block ends; may be asked from any thread."""

    def __init__(self) -> None:
        self._spans: list[Reported] = []
        self._changed = threading.Condition()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.add_routes([web.post("/v1/traces", self._take)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        message = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            for resource in message.resource_spans:
                named = {a.key: a.value.string_value for a in resource.resource.attributes}
                for scope in resource.scope_spans:
                    self._spans += [Reported(named["service.name"], span) for span in scope.spans]
            self._changed.notify_all()
        content = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=content, content_type="application/x-protobuf")

    def wait_for(self, trace_id: str, steps: set[Step], timeout_s: float) -> list[Reported]:
        """The spans of a trace, once it has one of each step; what there is when the time is over."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                found = [span for span in self._spans if span.trace_id == trace_id]
                left_s = deadline - time.monotonic()
                if steps <= {span.step for span in found} or left_s <= 0:
                    return found
                self._changed.wait(left_s)

    @property
    def spans(self) -> list[Reported]:
        with self._changed:
            return list(self._spans)
