"""Settings that are lists, written in one variable."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from infra.settings import Settings, load_settings
from schemas.errors import SettingsError


def test_quotas_and_proxies_are_lists() -> None:
    """With or without blanks."""
    settings = Settings(tenant_quotas="acme=500, demo=0.5", trusted_proxies="10.0.0.0/8, fd00::1")
    assert settings.quota_of_tenants == {"acme": 500.0, "demo": 0.5}
    assert settings.trusted_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::1"))
    assert (Settings().quota_of_tenants, Settings().trusted_networks) == ({}, ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IM_TENANT_QUOTAS", "acme"),
        ("IM_TENANT_QUOTAS", "acme=-1"),
        ("IM_TENANT_QUOTAS", "acme=many"),
        ("IM_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("IM_TRUSTED_PROXIES", "proxy.example"),
    ],
)
def test_a_list_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """At the start, with the variable and what was given."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}: .*{value}"):
        load_settings()


# Secrets


def test_a_wrong_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the message about it, nor by the settings when they are printed."""
    monkeypatch.setenv("IM_REDIS", "redis://me:canary@127.0.0.1:1/0")
    with pytest.raises(SettingsError, match="IM_REDIS_PASSWORD") as error:
        load_settings()
    assert "canary" not in str(error.value)
    monkeypatch.delenv("IM_REDIS")
    for name in ("AUTH_SECRET", "REDIS_PASSWORD", "KAFKA_PASSWORD", "CASSANDRA_PASSWORD"):
        monkeypatch.setenv(f"IM_{name}", "canary")
    monkeypatch.setenv("IM_KAFKA_USER", "me")
    monkeypatch.setenv("IM_CASSANDRA_USER", "me")
    assert "canary" not in repr(load_settings()) + str(load_settings())


def test_a_user_without_a_password_is_a_slip(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a password of nobody; what was given is not repeated."""
    monkeypatch.setenv("IM_KAFKA_PASSWORD", "canary")
    with pytest.raises(SettingsError, match="IM_KAFKA_USER") as error:
        load_settings()
    assert "canary" not in str(error.value)


def test_secrets_may_stand_in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One for each variable; the environment comes first, and others may not read them."""
    (tmp_path / "im_redis_password").write_text("from a file\n")
    (tmp_path / "im_redis_password").chmod(0o600)
    monkeypatch.setenv("IM_SECRETS_DIR", str(tmp_path))
    password = load_settings().redis_password
    assert password is not None
    assert password.get_secret_value() == "from a file"
    monkeypatch.setenv("IM_REDIS_PASSWORD", "from the environment")
    password = load_settings().redis_password
    assert password is not None
    assert password.get_secret_value() == "from the environment"
    (tmp_path / "im_redis_password").chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_settings()
    monkeypatch.setenv("IM_SECRETS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match="no folder"):
        load_settings()
