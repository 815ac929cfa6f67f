"""Two runs on the same data exclude each other."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import SettingsError

__all__ = ["data_lock"]


@contextmanager
def data_lock(data_dir: Path) -> Iterator[None]:
    """Hold the data folder, made if need be, until the block or this process ends, however it ends.

    Raises `SettingsError` that names the process which holds it.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise SettingsError(
                f"the data in {data_dir} is in use by process {holder} → stop that `im run` first, "
                "or set IM_DATA_DIR to another folder"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
