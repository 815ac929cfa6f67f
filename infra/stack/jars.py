"""The jars that Kafka and Cassandra run from: resolved from Maven Central once, then kept.

A folder of jars is named after the digest of its pom, so a new version is a new folder, and it appears by
one rename, so it is complete or absent. Several processes may resolve at once; the first one's folder stays.
Beside each pom lie the SHA-256 of its jars: whatever differs from them is not run.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

from infra.settings import Settings
from infra.stack.checksums import digests_of, found_wrong, read_checksums
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

    Raises `SettingsError` when Maven is missing or a jar is not the one that was pinned, `Unavailable`
    with Maven's output when it fails.
    """
    folder = jars_folder(settings, engine)
    if folder.is_dir():
        await _check(engine, folder)
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
        await _check(engine, jars)
        _keep(jars, folder)
    return folder


async def _check(engine: str, folder: Path) -> None:
    expected = read_checksums((FILES / engine / "jars.sha256").read_text())
    wrong = found_wrong(expected, await asyncio.to_thread(digests_of, folder))
    if wrong:
        raise SettingsError(
            f"the jars of {engine} in {folder} are not those that were pinned: {'; '.join(wrong[:5])} → "
            "remove the folder to resolve them again"
        )


def _keep(jars: Path, folder: Path) -> None:
    try:
        jars.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was first, and its jars are the same
            raise


def _pom(engine: str) -> Path:
    return FILES / engine / "pom.xml"
