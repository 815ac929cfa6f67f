"""`im reset`: forgets the data of `im run`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from infra.settings import Settings
from infra.stack.lock import data_lock

__all__ = ["forget", "kept_data"]

OURS: Final = ("kafka", "cassandra", "redis", "log", "auth_secret")
"""What the stack makes in its data folder. Nothing else is touched: the folder may be shared."""


def kept_data(settings: Settings) -> list[Path]:
    """What `forget` would remove."""
    return [path for name in OURS if (path := settings.data_dir / name).exists()]


def forget(settings: Settings) -> None:
    """Remove all data, but not the jars. Raises `SettingsError` while an `im run` uses them."""
    with data_lock(settings.data_dir):
        for path in kept_data(settings):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
