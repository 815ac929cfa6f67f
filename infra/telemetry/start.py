"""Tracing as the settings ask for it. Without an address for spans, nothing of the SDK is even loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from infra.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from infra.telemetry.tracing import Tracing

__all__ = ["start_tracing"]

_EXPORT_TIMEOUT_S: Final = 5


def start_tracing(settings: Settings, service: str, instance: str) -> Tracing | None:
    """The spans of this process; None if the settings name nowhere to send them."""
    if not (settings.otlp_endpoint or settings.zipkin_endpoint):
        return None
    from infra.telemetry.tracing import Tracing

    return Tracing(service, instance, settings.trace_ratio, _exporters(settings))


def _exporters(settings: Settings) -> list[SpanExporter]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.exporter.zipkin.json import ZipkinExporter

    exporters: list[SpanExporter] = []
    if settings.otlp_endpoint:
        endpoint = f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"
        exporters.append(OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_TIMEOUT_S))
    if settings.zipkin_endpoint:
        endpoint = f"{settings.zipkin_endpoint.rstrip('/')}/api/v2/spans"
        exporters.append(ZipkinExporter(endpoint=endpoint, timeout=_EXPORT_TIMEOUT_S))
    return exporters
