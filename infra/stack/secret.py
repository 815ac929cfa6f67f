"""The secret that signs tokens: the one that is set, or one that is made once and kept with the data."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from infra.settings import Settings
from schemas.errors import SettingsError

__all__ = ["ensure_secret", "known_secret"]

SECRET_BYTES: Final = 32


def ensure_secret(settings: Settings) -> str:
    """The secret of `known_secret`; if there is none, a new one that is kept from now on (mode 0600)."""
    path = _path(settings)
    if settings.auth_secret is None and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_urlsafe(SECRET_BYTES))
    return known_secret(settings)


def known_secret(settings: Settings) -> str:
    """The secret that is set or kept. Raises `SettingsError` when there is neither."""
    if settings.auth_secret is not None:
        return settings.auth_secret.get_secret_value()
    path = _path(settings)
    if not path.exists():
        raise SettingsError(
            f"no secret signs tokens here: IM_AUTH_SECRET is not set and {path} is not there → "
            "set IM_AUTH_SECRET, or start `im run` once, which makes one"
        )
    secret = path.read_text().strip()
    if not secret:
        raise SettingsError(f"{path} is empty → remove it, `im run` makes a new one")
    return secret


def _path(settings: Settings) -> Path:
    return settings.data_dir.absolute() / "auth_secret"
