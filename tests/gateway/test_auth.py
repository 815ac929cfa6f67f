"""Tokens: who gets in, and for how long."""

from __future__ import annotations

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from pydantic import SecretStr

from gateway.auth import LEEWAY_MS, TokenVerifier
from infra.clock import SystemClock
from infra.settings import Settings
from infra.token_keys import TokenKeys
from infra.tokens import mint_token
from schemas.codes import Code
from schemas.errors import Refused

SECRET = "a-secret-that-is-long-enough-for-hs256"
NOW_S = 1_700_000_000
NOW_MS = NOW_S * 1000


def keys() -> TokenKeys:
    return TokenKeys(Settings(auth_secret=SecretStr(SECRET)), SystemClock())


def a_token(**claims: object) -> str:
    values = {"sub": "alice", "exp": NOW_S + 60} | claims
    return jwt.encode({"alg": "HS256"}, values, OctKey.import_key(SECRET))


def test_a_good_token_names_its_holder() -> None:
    """The principal carries user, role, tenant and the end."""
    token = mint_token(SECRET, "alice", now_s=NOW_S, expires_s=60, role="server", tenant="acme")
    principal = TokenVerifier(keys()).verify(token, NOW_MS)
    assert (principal.user_id, principal.role, principal.tenant) == ("alice", "server", "acme")
    assert principal.is_server
    assert principal.expires_at_ms == NOW_MS + 60_000


@pytest.mark.parametrize(("issued", "good"), [(NOW_S - 1, False), (None, False), ("x", False), (NOW_S, True)])
def test_a_token_older_than_a_revocation_is_refused(issued: object, good: bool) -> None:
    """So is one that does not say when it was made; also when it was taken before."""
    revoked: dict[str, int] = {"bob": 2**50}
    verifier, token = TokenVerifier(keys(), revoked), a_token(iat=issued)
    verifier.verify(token, NOW_MS)
    revoked["alice"] = NOW_MS
    if good:
        verifier.verify(token, NOW_MS)
        return
    with pytest.raises(Refused) as refused:
        verifier.verify(token, NOW_MS)
    assert refused.value.code is Code.BAD_TOKEN


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a.b.c",
        "é.b.c",
        "x" * 5_000,
        a_token()[:-2],
        a_token() + "x",
        jwt.encode({"alg": "HS256"}, {"sub": "alice", "exp": NOW_S + 60}, OctKey.import_key("another" * 8)),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6OTk5OTk5OTk5OX0.",
        jwt.encode(
            {"alg": "HS512"}, {"sub": "a", "exp": NOW_S + 60}, OctKey.import_key(SECRET * 2), ["HS512"]
        ),
        a_token(sub=None),
        a_token(sub=7),
        a_token(sub=""),
        a_token(sub="a:b"),
        a_token(sub="a\nb"),
        a_token(sub="x" * 65),
        a_token(exp=None),
        a_token(exp="soon"),
        a_token(exp=True),
        a_token(exp=-1),
        a_token(exp=2**60),
        jwt.encode({"alg": "HS256"}, {"sub": "alice"}, OctKey.import_key(SECRET)),
    ],
)
def test_a_bad_token_is_refused(token: str) -> None:
    """Forged, malformed, unsigned, nameless and endless tokens all get 1401."""
    with pytest.raises(Refused) as refused:
        TokenVerifier(keys()).verify(token, NOW_MS)
    assert refused.value.code is Code.BAD_TOKEN


def test_a_token_ends_after_the_leeway() -> None:
    """30 s after `exp` a token is refused, also one that was verified before."""
    verifier, token = TokenVerifier(keys()), a_token()
    end_ms = NOW_MS + 60_000 + LEEWAY_MS
    verifier.verify(token, end_ms)
    with pytest.raises(Refused):
        verifier.verify(token, end_ms + 1)


def test_the_cache_is_bounded() -> None:
    """Tokens pushed out of the cache are verified anew, and are as good as before."""
    verifier = TokenVerifier(keys(), cache_tokens=2)
    tokens = [a_token(sub=f"u{i}") for i in range(5)]
    for _ in range(2):
        assert [verifier.verify(t, NOW_MS).user_id for t in tokens] == ["u0", "u1", "u2", "u3", "u4"]
