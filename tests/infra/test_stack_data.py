"""What the stack keeps in its data folder: lock, secret, and what reset forgets."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.settings import Settings
from infra.stack.lock import data_lock
from infra.stack.reset import forget, kept_data
from infra.stack.secret import ensure_secret, known_secret
from schemas.errors import SettingsError

HOLD = """
import os, sys
from pathlib import Path
from infra.stack.lock import data_lock

with data_lock(Path(sys.argv[1])):
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", jars_dir=tmp_path / "data" / "jars", auth_secret=None)


def test_a_second_run_on_the_same_data_is_refused(tmp_path: Path) -> None:
    """The sentence names the process that holds them, and the setting that goes around it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        pid = holder.stdout.readline().strip()
        with (
            pytest.raises(SettingsError, match=f"in use by process {pid} .*IM_DATA_DIR"),
            data_lock(tmp_path),
        ):
            pass
        holder.kill()

    with data_lock(tmp_path):
        pass


def test_a_secret_is_made_once_and_kept_private(settings: Settings) -> None:
    """Tokens of the first run are good in the second, and nobody else can read it."""
    first = ensure_secret(settings)

    assert len(first) >= 43
    assert ensure_secret(settings) == known_secret(settings) == first
    assert stat.S_IMODE((settings.data_dir / "auth_secret").stat().st_mode) == 0o600


def test_a_given_secret_is_not_written_down(settings: Settings) -> None:
    """IM_AUTH_SECRET stays where it came from."""
    given = settings.model_copy(update={"auth_secret": SecretStr("given")})

    assert ensure_secret(given) == "given"
    assert not settings.data_dir.exists()


def test_no_secret_is_a_clear_error(settings: Settings) -> None:
    """It says both ways to get one."""
    with pytest.raises(SettingsError, match=r"IM_AUTH_SECRET is not set .*im run"):
        known_secret(settings)


def test_reset_forgets_the_data_but_neither_jars_nor_strangers(settings: Settings) -> None:
    """Only what the stack made goes."""
    ensure_secret(settings)
    for name in ("kafka/data", "cassandra", "log", "jars/kafka-1", "mine"):
        (settings.data_dir / name).mkdir(parents=True)
    assert [path.name for path in kept_data(settings)] == ["kafka", "cassandra", "log", "auth_secret"]

    forget(settings)

    assert sorted(path.name for path in settings.data_dir.iterdir()) == ["jars", "lock", "mine"]


def test_reset_is_refused_while_the_data_are_in_use(settings: Settings) -> None:
    """A running system keeps its ground."""
    with data_lock(settings.data_dir), pytest.raises(SettingsError, match="in use"):
        forget(settings)
