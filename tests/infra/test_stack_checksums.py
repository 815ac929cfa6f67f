"""infra/stack/checksums.py, and the jars that are refused by it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from infra.settings import Settings
from infra.stack.checksums import digests_of, found_wrong, read_checksums
from infra.stack.jars import FILES, JVM_ENGINES, jars_folder, resolve_jars
from schemas.errors import SettingsError


@pytest.mark.parametrize("engine", [*JVM_ENGINES, "zipkin"])
def test_every_jar_is_pinned(engine: str) -> None:
    """Each line is a digest and the name of a jar."""
    pinned = read_checksums((FILES / engine / "jars.sha256").read_text())
    assert pinned
    assert all(name.endswith(".jar") and len(digest) == 64 for name, digest in pinned.items())


def test_what_differs_is_named(tmp_path: Path) -> None:
    """A changed, a missing and an added file."""
    for name in ("a.jar", "b.jar", "c.jar"):
        (tmp_path / name).write_text(name)
    expected = digests_of(tmp_path)
    assert found_wrong(expected, digests_of(tmp_path)) == []
    (tmp_path / "a.jar").write_text("another")
    (tmp_path / "b.jar").unlink()
    (tmp_path / "d.jar").write_text("stray")
    assert found_wrong(expected, digests_of(tmp_path)) == [
        "a.jar has changed",
        "b.jar is missing",
        "d.jar does not belong there",
    ]


async def test_changed_jars_are_not_run(tmp_path: Path) -> None:
    """Kept ones are looked at again each time, before anything is started from them."""
    settings = Settings(jars_dir=tmp_path)
    folder = jars_folder(settings, "kafka")
    folder.mkdir(parents=True)
    pinned = read_checksums((FILES / "kafka" / "jars.sha256").read_text())
    jar = next(name for name in pinned if name.startswith("kafka-server-"))
    (folder / jar).write_text("not Kafka")
    with pytest.raises(SettingsError, match=f"{re.escape(jar)} has changed"):
        await resolve_jars(settings, "kafka")
    shutil.rmtree(folder)
