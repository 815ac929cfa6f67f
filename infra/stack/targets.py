"""Where the processes of `im run` serve their metrics, in a file that Prometheus follows by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from infra.settings import Settings
from infra.stack.addresses import Address

__all__ = ["targets_file", "write_targets"]


def targets_file(settings: Settings) -> Path:
    return settings.data_dir.absolute() / "targets.json"


def write_targets(path: Path, probes: Mapping[str, Address]) -> None:
    """One entry for each process, as Prometheus' file_sd_configs reads them; replaced in one piece."""
    entries = [
        {"targets": [str(address)], "labels": {"process": name}} for name, address in sorted(probes.items())
    ]
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(entries)))
    fresh.replace(path)
