"""infra/tokens.py"""

from __future__ import annotations

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import OctKey

from infra.tokens import mint_token
from schemas.errors import BadInput

SECRET = "a-secret-that-is-long-enough-for-hs256"


def claims_of(token: str, secret: str = SECRET) -> dict[str, object]:
    return dict(jwt.decode(token, OctKey.import_key(secret), algorithms=["HS256"]).claims)


def test_a_token_says_who_and_how_long() -> None:
    """Role and tenant are there only if given."""
    assert claims_of(mint_token(SECRET, "alice", now_s=1_000, expires_s=60)) == {
        "sub": "alice",
        "iat": 1_000,
        "exp": 1_060,
    }


def test_a_token_can_name_role_and_tenant() -> None:
    """Both are kept as given."""
    claims = claims_of(mint_token(SECRET, "bot", now_s=0, role="server", tenant="acme"))

    assert claims["role"] == "server"
    assert claims["tenant"] == "acme"


def test_another_secret_does_not_open_it() -> None:
    """The signature counts."""
    with pytest.raises(BadSignatureError):
        claims_of(mint_token(SECRET, "alice", now_s=0), "another-secret-that-is-long-enough-too")


def test_a_token_must_live() -> None:
    """One that has expired when it is made is a slip."""
    with pytest.raises(BadInput, match="at least a second"):
        mint_token(SECRET, "alice", now_s=0, expires_s=0)
