"""Settings that are lists, written in one variable."""

from __future__ import annotations

from ipaddress import ip_network

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
