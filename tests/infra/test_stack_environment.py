"""infra/stack/environment.py"""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.settings import Settings, load_settings
from infra.stack.environment import child_environment


def test_a_child_reads_exactly_the_settings_that_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the parent's own environment says."""
    settings = Settings(port=9000, auth_secret=SecretStr("word"), gateway_id="gw-7", data_dir=Path("here"))
    environment = child_environment(settings, {"IM_PORT": "1", "IM_KEYSPACE": "other", "PATH": "/bin"})
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    read = load_settings()

    assert read == settings.model_copy(
        update={"data_dir": Path("here").absolute(), "jars_dir": settings.jars_dir.absolute()}
    )
    assert environment["PATH"] == "/bin"
