"""TLS towards engines: certificate and host name are always checked, nothing older than 1.2 is spoken."""

from __future__ import annotations

import ssl

from infra.settings import Settings
from schemas.errors import SettingsError

__all__ = ["engine_tls"]


def engine_tls(settings: Settings) -> ssl.SSLContext:
    """The context for connections to engines. Raises `SettingsError` if the CA file cannot be read."""
    try:
        context = ssl.create_default_context(cafile=settings.engine_ca)
    except OSError as error:
        raise SettingsError(f"IM_ENGINE_CA: {settings.engine_ca}: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
