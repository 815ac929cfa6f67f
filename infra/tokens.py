"""Tokens as gateways with a secret check them: JWT, HS256.

Claims `sub`, `iat`, `exp` and optionally `role`, `tenant`, `aud`, `iss`.
"""

from __future__ import annotations

from typing import Final

from joserfc import jwt
from joserfc.jwk import OctKey

from infra.settings import Settings
from schemas.errors import BadInput, SettingsError

__all__ = ["DEFAULT_EXPIRES_S", "mint_for", "mint_token"]

DEFAULT_EXPIRES_S: Final = 86_400


def mint_for(
    settings: Settings,
    secret: str,
    user: str,
    *,
    now_s: int,
    expires_s: int = DEFAULT_EXPIRES_S,
    role: str | None = None,
    tenant: str | None = None,
) -> str:
    """As `mint_token`, for gateways with these settings.

    Raises `SettingsError` where tokens are signed by a private key: who has it makes them.
    """
    if settings.auth_algorithm != "HS256":
        raise SettingsError(
            f"IM_AUTH_ALGORITHM: tokens of {settings.auth_algorithm} are made by whoever has the private key"
        )
    return mint_token(
        secret,
        user,
        now_s=now_s,
        expires_s=expires_s,
        role=role,
        tenant=tenant,
        audience=settings.auth_audience,
        issuer=settings.auth_issuer,
    )


def mint_token(
    secret: str,
    user: str,
    *,
    now_s: int,
    expires_s: int = DEFAULT_EXPIRES_S,
    role: str | None = None,
    tenant: str | None = None,
    audience: str = "",
    issuer: str = "",
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
    if audience:
        claims["aud"] = audience
    if issuer:
        claims["iss"] = issuer
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(secret))
