"""Tokens as gateways check them: JWT, HS256, claims `sub`, `iat`, `exp` and optionally `role`, `tenant`."""

from __future__ import annotations

from typing import Final

from joserfc import jwt
from joserfc.jwk import OctKey

from schemas.errors import BadInput

__all__ = ["DEFAULT_EXPIRES_S", "mint_token"]

DEFAULT_EXPIRES_S: Final = 86_400


def mint_token(
    secret: str,
    user: str,
    *,
    now_s: int,
    expires_s: int = DEFAULT_EXPIRES_S,
    role: str | None = None,
    tenant: str | None = None,
) -> str:
    """A token that lets its holder connect as `user` until `now_s + expires_s`.

    Raises `BadInput` for a lifetime that is over before it begins.
    """
    if expires_s <= 0:
        raise BadInput(f"a token must live for at least a second (given: {expires_s})")
    claims: dict[str, str | int] = {"sub": user, "iat": now_s, "exp": now_s + expires_s}
    if role is not None:
        claims["role"] = role
    if tenant is not None:
        claims["tenant"] = tenant
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(secret))
