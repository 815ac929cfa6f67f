"""What a machine must have before anything starts: each check is a value, with the command that fixes it."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.settings import Settings
from infra.stack.addresses import Address, is_free
from infra.stack.jars import missing_jars
from schemas.errors import SettingsError

__all__ = [
    "Check",
    "check_descriptors",
    "check_disk",
    "check_java",
    "check_maven",
    "check_ports",
    "find_java",
    "java_major",
    "raise_descriptor_limit",
    "require",
]

LOWEST_JAVA: Final = 17
NEEDED_BYTES: Final = 1024**3
DESCRIPTORS: Final = 4_096
JAVA_TIMEOUT_S: Final = 20.0
JAVA_FIX: Final = "apt-get install openjdk-17-jre-headless, or set JAVA_HOME"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `fix` says what to do when it is not `ok`."""

    title: str
    ok: bool
    fix: str = ""


def require(checks: Iterable[Check]) -> None:
    """Raise `SettingsError` that names every failed check with its fix."""
    failed = [f"{check.title} → {check.fix}" for check in checks if not check.ok]
    if failed:
        raise SettingsError("\n".join(failed))


def find_java(environ: Mapping[str, str] = os.environ) -> str | None:
    """The java of JAVA_HOME, else the one on the path."""
    home = environ.get("JAVA_HOME")
    if home:
        return shutil.which("java", path=str(Path(home) / "bin"))
    return shutil.which("java", path=environ.get("PATH"))


def java_major(version_output: str) -> int | None:
    """The major version out of what `java -version` prints (`1.8.0_392` is 8)."""
    found = re.search(r'version "(?:1\.)?(\d+)', version_output)
    return int(found.group(1)) if found else None


async def check_java(java: str | None) -> Check:
    """Java 17 or newer: Kafka 4 and Cassandra 5 need it."""
    if java is None:
        return Check("Java not found", ok=False, fix=JAVA_FIX)
    process = await asyncio.create_subprocess_exec(
        java, "-version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), JAVA_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        return Check(f"{java} does not answer", ok=False, fix=JAVA_FIX)
    major = java_major(output.decode(errors="replace"))
    if major is None or major < LOWEST_JAVA:
        return Check(f"{java} is Java {major or 'of unknown version'}, 17 is needed", ok=False, fix=JAVA_FIX)
    return Check(f"Java {major}", ok=True)


def check_maven(settings: Settings, environ: Mapping[str, str] = os.environ) -> Check:
    """Maven, which is needed only until the jars are there."""
    missing = missing_jars(settings)
    if not missing:
        return Check("jars of Kafka and Cassandra", ok=True)
    if shutil.which("mvn", path=environ.get("PATH")) is None:
        title = f"mvn not found, which resolves the jars of {' and '.join(missing)}"
        return Check(title, ok=False, fix="apt-get install maven")
    return Check("Maven", ok=True)


def check_disk(folder: Path, needed_bytes: int = NEEDED_BYTES) -> Check:
    """Room for the engines' first files; they stop badly on a full disk."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    title = f"{free / 1024**3:.1f} GiB free"
    fix = f"make room on the disk of {folder} (1 GiB at least), or set IM_DATA_DIR to another folder"
    return Check(title, ok=free >= needed_bytes, fix=fix)


def check_ports(addresses: Mapping[str, Address]) -> list[Check]:
    """One check for each address that is to be listened on, by the setting that moves it."""
    return [
        Check(f"{address} is taken", ok=False, fix=f"stop what listens there, or set {variable}")
        for variable, address in addresses.items()
        if not is_free(address)
    ]


def check_descriptors() -> Check:
    """How many files and sockets a process may hold: a gateway needs one per connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = hard == resource.RLIM_INFINITY
    title = f"open files up to {'any number' if unlimited else hard}"
    return Check(title, ok=unlimited or hard >= DESCRIPTORS, fix=f"ulimit -Hn {DESCRIPTORS} or more")


def raise_descriptor_limit() -> None:
    """Let this process and its children hold as many connections as the machine allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
