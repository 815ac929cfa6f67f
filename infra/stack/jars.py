"""The jars that Kafka and Cassandra run from: resolved from Maven Central once, then kept.

A folder of jars is named after the digest of its pom, so a new version is a new folder, and it appears by
one rename, so it is complete or absent. Several processes may resolve at once; the first one's folder stays.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

from infra.settings import Settings
from infra.stack.process import run_to_end
from schemas.errors import SettingsError

__all__ = ["FILES", "JVM_ENGINES", "jars_folder", "missing_jars", "resolve_jars"]

FILES: Final = Path(__file__).parent / "files"
JVM_ENGINES: Final = ("kafka", "cassandra")
MAVEN_FLAGS: Final = ("--quiet", "--batch-mode")
MAVEN_GOAL: Final = "dependency:copy-dependencies"
RESOLVE_TIMEOUT_S: Final = 900.0


def jars_folder(settings: Settings, engine: str) -> Path:
    """Where this engine's jars are, or will be."""
    digest = hashlib.sha256(_pom(engine).read_bytes()).hexdigest()[:12]
    return settings.jars_dir.absolute() / f"{engine}-{digest}"


def missing_jars(settings: Settings) -> tuple[str, ...]:
    """The engines whose jars are not there yet."""
    return tuple(engine for engine in JVM_ENGINES if not jars_folder(settings, engine).is_dir())


async def resolve_jars(settings: Settings, engine: str) -> Path:
    """Return the folder of the engine's jars, resolving them first if need be.

    Raises `SettingsError` when Maven is missing, `Unavailable` with Maven's output when it fails.
    """
    folder = jars_folder(settings, engine)
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise SettingsError(f"mvn not found, which resolves the jars of {engine} → apt-get install maven")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{engine}-") as scratch:
        jars = Path(scratch) / "jars"
        await run_to_end(
            f"mvn (jars of {engine})",
            (maven, *MAVEN_FLAGS, "-f", str(_pom(engine)), MAVEN_GOAL, f"-DoutputDirectory={jars}"),
            settings.data_dir.absolute() / "log" / f"mvn-{engine}.log",
            RESOLVE_TIMEOUT_S,
        )
        _keep(jars, folder)
    return folder


def _keep(jars: Path, folder: Path) -> None:
    try:
        jars.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was first, and its jars are the same
            raise


def _pom(engine: str) -> Path:
    return FILES / engine / "pom.xml"
