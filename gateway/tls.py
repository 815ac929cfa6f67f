"""TLS on the gateway's port, with a certificate that may be replaced while it serves."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Final

import structlog

from infra.settings import Settings
from schemas.errors import SettingsError

__all__ = ["HANDSHAKE_TIMEOUT_S", "Certificate", "certificate_of"]

log = structlog.get_logger(__name__)

HANDSHAKE_TIMEOUT_S: Final = 5.0
_LOOK_S: Final = 5.0

_State = tuple[tuple[int, int], ...]


def certificate_of(settings: Settings) -> Certificate | None:
    """The certificate of these settings; None: the port speaks plainly. Raises `SettingsError`."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingsError("IM_TLS_CERT and IM_TLS_KEY go together")
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_cert, settings.tls_key)


class Certificate:
    """`context` is what a server listens with: each handshake gets the files as they were read last.

    Files that do not fit each other, as while they are being replaced, change nothing until they do.
    Connections keep what they were opened with. TLS 1.2 and above; no renegotiation.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises `SettingsError` if the files cannot be used, or others may read the key."""
        self._certificate, self._key = certificate, key
        try:
            if key.stat().st_mode & 0o077:
                raise SettingsError(f"IM_TLS_KEY: others may read {key} → chmod 600")
            self._state = self._look()
            self._current = self._load()
        except (OSError, ValueError) as error:  # ssl's errors are both
            raise SettingsError(f"IM_TLS_CERT, IM_TLS_KEY: {error}") from error
        self.context = self._load()
        self.context.sni_callback = self._choose

    async def run(self) -> None:
        """Follow the files until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self.look_again()

    def look_again(self) -> None:
        """Take the files if they have changed and fit each other."""
        try:
            state = self._look()
            if state != self._state:
                self._current = self._load()
                self._state = state
                log.info("certificate replaced", file=str(self._certificate))
        except (OSError, ValueError) as error:
            log.warning("certificate not replaced", error=str(error))

    def _choose(self, handshake: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        handshake.context = self._current

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.load_cert_chain(self._certificate, self._key)
        return context

    def _look(self) -> _State:
        stats = [path.stat() for path in (self._certificate, self._key)]
        return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)
