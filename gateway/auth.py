"""Who a token speaks for."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import GuestProtocol
from joserfc.jws import JWSRegistry

from infra.token_keys import Algorithm, AnyKey, TokenKeys
from schemas.codes import Code
from schemas.errors import Refused
from schemas.ids import is_name

__all__ = ["Principal", "TokenVerifier"]

LEEWAY_MS: Final = 30_000
_MAX_TOKEN_BYTES: Final = 4_096
_CACHE_TOKENS: Final = 20_000
_NOBODY: Final[Mapping[str, int]] = {}


class Principal(msgspec.Struct, frozen=True, gc=False):
    """The holder of a verified token."""

    user_id: str
    role: str
    tenant: str
    expires_at_ms: int
    issued_at_ms: int = 0
    """From `iat`, which counts whole seconds; 0 for a token without one."""

    @property
    def is_server(self) -> bool:
        """Whether this is the service itself: not rate-limited, may act for users."""
        return self.role == "server"


class UnknownKey(Refused):
    """The token names a key that is not there (yet)."""


class TokenVerifier:
    """Checks signatures once per token: a device that connects again costs a dictionary look-up.

    The algorithm is the setting's, whatever a token's header says: no `none`, no exchange of key kinds.
    The cache is bounded, keeps the latest used, holds nothing past a token's end, and is emptied when
    the keys change. `revoked` (user → ms) is looked at each time: of these users, tokens made before
    that moment are refused.
    """

    def __init__(
        self,
        keys: TokenKeys,
        revoked: Mapping[str, int] = _NOBODY,
        audience: str = "",
        issuer: str = "",
        cache_tokens: int = _CACHE_TOKENS,
    ) -> None:
        self._keys = keys
        self._ring = keys.ring
        self._registry = _registry(keys.ring.algorithm)
        self._revoked = revoked
        self._audience = audience
        self._issuer = issuer
        self._cache: OrderedDict[str, Principal] = OrderedDict()
        self._cache_tokens = cache_tokens

    async def admit(self, token: str, now_ms: int) -> Principal:
        """As `verify`, but a token whose key is unknown may wait for the keys to be read anew."""
        try:
            return self.verify(token, now_ms)
        except UnknownKey:
            await self._keys.look_again()
            return self.verify(token, now_ms)

    def verify(self, token: str, now_ms: int) -> Principal:
        """The principal of this token. Raises `Refused` (BAD_TOKEN) if it is not good now."""
        if self._ring is not self._keys.ring:
            self._ring = self._keys.ring
            self._cache.clear()
        principal = self._cache.get(token)
        if principal is None:
            principal = self._read(token, now_ms)
            self._remember(token, principal)
        else:
            self._cache.move_to_end(token)
        if now_ms > principal.expires_at_ms + LEEWAY_MS:
            self._cache.pop(token, None)
            raise Refused(Code.BAD_TOKEN, "the token has expired")
        if principal.issued_at_ms < self._revoked.get(principal.user_id, 0):
            raise Refused(Code.BAD_TOKEN, "the token was revoked")
        return principal

    def _remember(self, token: str, principal: Principal) -> None:
        self._cache[token] = principal
        if len(self._cache) > self._cache_tokens:
            self._cache.popitem(last=False)

    def _read(self, token: str, now_ms: int) -> Principal:
        claims = self._claims(token)
        user_id, expires_at_ms = claims.get("sub"), _moment_ms(claims, "exp")
        if not isinstance(user_id, str) or not is_name(user_id):
            raise Refused(Code.BAD_TOKEN, "the token names no user")
        if expires_at_ms is None:
            raise Refused(Code.BAD_TOKEN, "the token has no end")
        begins_at_ms = _moment_ms(claims, "nbf") if "nbf" in claims else 0
        if begins_at_ms is None or begins_at_ms > now_ms + LEEWAY_MS:
            raise Refused(Code.BAD_TOKEN, "the token is not good yet")
        if self._issuer and claims.get("iss") != self._issuer:
            raise Refused(Code.BAD_TOKEN, "the token is from somebody else")
        if self._audience and not _names(claims.get("aud"), self._audience):
            raise Refused(Code.BAD_TOKEN, "the token is for somebody else")
        return Principal(
            user_id,
            _text(claims, "role"),
            _text(claims, "tenant"),
            expires_at_ms,
            _moment_ms(claims, "iat") or 0,
        )

    def _claims(self, token: str) -> dict[str, object]:
        """What a rightly signed token says. Never an error's own words: they may repeat the token's."""
        if len(token) > _MAX_TOKEN_BYTES or not token.isascii():
            raise Refused(Code.BAD_TOKEN)
        algorithms = [self._ring.algorithm]
        try:
            claims = jwt.decode(token, self._key, algorithms, self._registry).claims
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise Refused(Code.BAD_TOKEN) from error
        if not isinstance(claims, dict):
            raise Refused(Code.BAD_TOKEN)
        return claims

    def _key(self, token: GuestProtocol) -> AnyKey:
        header = token.headers()
        if (
            "crit" in header
        ):  # RFC 7515, 4.1.11: refused by who does not understand it, and so is an empty one
            raise Refused(Code.BAD_TOKEN)
        key = self._ring.find(header.get("kid"))
        if key is None:
            raise UnknownKey(Code.BAD_TOKEN)
        return key


def _registry(algorithm: Algorithm) -> JWSRegistry:
    """Knows this one algorithm, and no other by any name."""
    model = copy.copy(JWSRegistry.algorithms[algorithm])
    model.security_warning = None  # the name EdDSA is deprecated (RFC 9864); we take its Ed25519 only

    class Registry(JWSRegistry):
        algorithms = {algorithm: model}  # noqa: RUF012 - the library's own attribute

    return Registry(algorithms=[algorithm])


def _names(audience: object, wanted: str) -> bool:
    return wanted in audience if isinstance(audience, list) else audience == wanted


def _moment_ms(claims: dict[str, object], name: str) -> int | None:
    """A time of a claim, which counts seconds; None for what is none."""
    at_s = claims.get(name)
    if not isinstance(at_s, int | float) or isinstance(at_s, bool) or not 0 <= at_s < 2**40:
        return None
    return int(at_s * 1000)


def _text(claims: dict[str, object], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""
