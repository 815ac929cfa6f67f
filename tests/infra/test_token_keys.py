"""infra/token_keys.py: which keys there are, and how they change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pydantic import SecretStr, ValidationError

from gateway.auth import TokenVerifier
from infra.clock import ManualClock
from infra.settings import Settings
from infra.token_keys import MAX_KEY_SET_BYTES, Algorithm, TokenKeys, read_key_set, read_public_key
from schemas.errors import Refused, SettingsError, Unavailable
from tests.gateway.issuer import NOW_S, SECRET, Issuer

NOW_MS = NOW_S * 1_000
OLD, NEW = Issuer("RS256", "old"), Issuer("RS256", "new")


def a_set(*issuers: Issuer, **more: Any) -> bytes:
    return json.dumps({"keys": [{**issuer.public_jwk, **more} for issuer in issuers]}).encode()


def keys_in(path: Path | str, clock: ManualClock, **settings: Any) -> TokenKeys:
    return TokenKeys(Settings(auth_algorithm="RS256", auth_jwks=str(path), **settings), clock)


# What settings may say


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "IM_AUTH_SECRET"),
        ({"auth_secret": SecretStr(SECRET), "auth_jwks": "keys.json"}, "HS256"),
        ({"auth_algorithm": "RS256"}, "IM_AUTH_PUBLIC_KEY"),
        ({"auth_algorithm": "RS256", "auth_secret": SecretStr(SECRET)}, "IM_AUTH_JWKS"),
        ({"auth_algorithm": "EdDSA", "auth_jwks": "a", "auth_public_key": Path("b")}, "not both"),
        ({"auth_algorithm": "RS256", "auth_public_key": Path("/nowhere.pem")}, "IM_AUTH_PUBLIC_KEY"),
    ],
)
def test_there_is_one_source_of_keys(settings: dict[str, Any], named: str) -> None:
    """Settings that name none, or two, stop a gateway before it starts."""
    with pytest.raises(SettingsError, match=named):
        TokenKeys(Settings(**{"auth_secret": None, **settings}), ManualClock())


@pytest.mark.parametrize("place", ["http://login.example/keys", "ftp://x/y", "file:///etc/keys"])
def test_keys_come_over_tls_or_from_this_machine(place: str) -> None:
    """Whoever could change them on the way could let anybody in."""
    with pytest.raises(ValidationError, match="auth_jwks"):
        Settings(auth_jwks=place)


# Which keys are taken


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
def test_a_public_key_is_a_pem_or_a_jwk(algorithm: Algorithm) -> None:
    """Both forms are the same key."""
    issuer = Issuer(algorithm)
    pem = read_public_key(issuer.public_pem.decode(), algorithm).find(None)
    jwk = read_public_key(json.dumps(issuer.public_jwk), algorithm).find(None)
    assert pem is not None
    assert jwk is not None
    assert pem.thumbprint() == jwk.thumbprint()


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_unfit_keys_are_refused() -> None:
    """Weak RSA, another kind or curve, a private key, no key at all."""
    weak = generate_private_key(65_537, 1_024)
    x448 = Ed448PrivateKey.generate().public_key()
    pem, spki = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    private = weak.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption())
    unfit: list[tuple[bytes, Algorithm]] = [
        (weak.public_key().public_bytes(pem, spki), "RS256"),
        (x448.public_bytes(pem, spki), "EdDSA"),
        (OLD.public_pem, "EdDSA"),
        (Issuer("EdDSA").public_pem, "RS256"),
        (private, "RS256"),
        (b"", "RS256"),
        (b"{}", "RS256"),
        (SECRET.encode(), "RS256"),
    ]
    for text, algorithm in unfit:
        with pytest.raises(SettingsError, match="IM_AUTH_PUBLIC_KEY"):
            read_public_key(text.decode(), algorithm)


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"},
        {"alg": "RS512"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kid": 7},
        {"kid": None},
        {"n": "x"},
    ],
)
def test_a_set_gives_only_what_fits(changes: dict[str, Any]) -> None:
    """A key for something else is passed over; a set without any other is refused."""
    bad = {**NEW.public_jwk, **changes}
    mixed = json.dumps({"keys": [bad, OLD.public_jwk]}).encode()
    ring = read_key_set(mixed, "RS256")
    assert ring.find("old") is not None
    assert ring.find("new") is None
    with pytest.raises(ValueError, match="no key of the set"):
        read_key_set(json.dumps({"keys": [bad]}).encode(), "RS256")


def test_a_token_without_a_name_gets_the_only_key() -> None:
    """With two keys it must say which one it means."""
    assert read_key_set(a_set(OLD), "RS256").find(None) is not None
    assert read_key_set(a_set(OLD, NEW), "RS256").find(None) is None


# How they change


async def test_keys_rotate_without_a_restart(tmp_path: Path) -> None:
    """A new key counts at the first token that names it; one that was taken away counts no more."""
    clock, path = ManualClock(), tmp_path / "jwks.json"
    path.write_bytes(a_set(OLD))
    keys = keys_in(path, clock, auth_jwks_pause_s=10)
    await keys.startup()
    verifier = TokenVerifier(keys)
    assert (await verifier.admit(OLD.token(), NOW_MS)).user_id == "alice"
    path.write_bytes(a_set(NEW))
    clock.advance(11)
    assert (await verifier.admit(NEW.token(), NOW_MS)).user_id == "alice"
    with pytest.raises(Refused):
        await verifier.admit(OLD.token(), NOW_MS)  # also though it stood in the cache


async def test_unknown_names_do_not_make_it_read_all_the_time(tmp_path: Path) -> None:
    """However many tokens name keys that are not there, the source is asked once in the pause."""
    asked = 0

    async def serve(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(body=a_set(OLD))

    app = web.Application()
    app.router.add_get("/keys", serve)
    async with TestServer(app) as server:
        clock = ManualClock()
        keys = keys_in(f"http://127.0.0.1:{server.port}/keys", clock, auth_jwks_pause_s=10)
        await keys.startup()
        verifier = TokenVerifier(keys)
        clock.advance(11)
        for number in range(20):
            with pytest.raises(Refused):
                await verifier.admit(Issuer("RS256", "old").token({"kid": f"k{number}"}), NOW_MS)
        assert asked == 2


async def test_a_source_that_fails_leaves_the_keys_as_they_are(tmp_path: Path) -> None:
    """Neither rubbish nor silence nor a flood puts anybody out; but nothing starts without keys."""
    clock, path = ManualClock(), tmp_path / "jwks.json"
    path.write_bytes(a_set(OLD))
    keys = keys_in(path, clock)
    await keys.startup()
    verifier = TokenVerifier(keys)
    for data in (b"", b"[]", b'{"keys":[]}', b"x" * (MAX_KEY_SET_BYTES + 1), b'{"keys":[7]}'):
        path.write_bytes(data)
        clock.advance(60)
        await keys.look_again()
        assert verifier.verify(OLD.token(), NOW_MS).user_id == "alice"
    path.unlink()
    with pytest.raises(Unavailable):
        await keys_in(path, clock).startup()
